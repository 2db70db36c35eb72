/** A number for reading: three significant digits, with a power of ten below 1e-4. */
export function figures(value: number | null): string {
  if (value === null || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const rounded = Number(value.toPrecision(3));
  const isSmall = rounded !== 0 && Math.abs(rounded) < 1e-4;
  return (isSmall ? rounded.toExponential() : String(rounded)).replaceAll("-", "−");
}

export function interval({ low, high }: { readonly low: number; readonly high: number }): string {
  return `${figures(low)} … ${figures(high)}`;
}

export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export const day = (date: string | Date): string => new Date(date).toISOString().slice(0, 10);
