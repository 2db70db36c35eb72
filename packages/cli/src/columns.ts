/** Lines up rows of text in columns two spaces apart; a first row of headings is underlined. */
export function columns(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join("  ")
      .trimEnd();
  return `${[line(head), line(widths.map((width) => "─".repeat(width))), ...rows.map(line)].join("\n")}\n`;
}

/** A number for reading: four significant digits, with a power of ten below 1e-4. */
export function figures(value: number): string {
  const rounded = Number(value.toPrecision(4));
  const isSmall = rounded !== 0 && Math.abs(rounded) < 1e-4;
  return isSmall ? rounded.toExponential() : String(rounded).replace("Infinity", "∞");
}

export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
