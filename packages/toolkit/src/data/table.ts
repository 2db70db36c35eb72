/** A table of numbers as shipped: column names and values row by row, `[rows, columns]`. */
export interface Table {
  readonly columns: readonly string[];
  readonly rows: number;
  readonly values: Float64Array;
}

/** Decodes a gzipped CSV that travels as base64, with what Node and browsers have in common. */
export async function decodeTable(base64: string): Promise<Table> {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const [header, ...lines] = (await new Response(stream).text()).trimEnd().split("\n");
  const columns = header!.split(",");
  const values = new Float64Array(lines.length * columns.length);
  lines.forEach((line, row) => {
    values.set(line.split(",").map(Number), row * columns.length);
  });
  return { columns, rows: lines.length, values };
}
