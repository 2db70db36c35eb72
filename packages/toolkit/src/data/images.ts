/** Side of square images of `pixels` pixels. @throws RangeError when they are not square. */
function sideOf(op: string, pixels: number): number {
  const side = Math.sqrt(pixels);
  if (!Number.isInteger(side)) throw new RangeError(`${op}: ${pixels} pixels are no square image`);
  return side;
}

/**
 * Square images turned counter-clockwise around their centre, with bilinear interpolation; what comes from outside is 0.
 * @param images `[examples, side · side]`
 */
export function rotateImages(images: Float32Array, pixels: number, degrees: number): Float32Array {
  const side = sideOf("rotateImages", pixels);
  const angle = (degrees * Math.PI) / 180;
  // Rounded, so that quarter turns are exact.
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)].map((v) => Math.round(v * 1e12) / 1e12) as [
    number,
    number,
  ];
  const center = (side - 1) / 2;
  const turned = new Float32Array(images.length);
  for (let row = 0; row < side; row++)
    for (let column = 0; column < side; column++) {
      const [dx, dy] = [column - center, row - center];
      const [x, y] = [center + cos * dx - sin * dy, center + sin * dx + cos * dy];
      const [left, top] = [Math.floor(x), Math.floor(y)];
      for (const [r, c] of [
        [top, left],
        [top, left + 1],
        [top + 1, left],
        [top + 1, left + 1],
      ] as const) {
        // biome-ignore format: four neighbours
        const weight = (1 - Math.abs(x - c)) * (1 - Math.abs(y - r));
        if (weight <= 0 || r < 0 || c < 0 || r >= side || c >= side) continue;
        for (let start = 0; start < images.length; start += pixels)
          turned[start + row * side + column]! += weight * images[start + r * side + c]!;
      }
    }
  return turned;
}

/**
 * Columns in another order: pixel j of the result is pixel `order[j]`.
 * @param rows `[examples, width]`
 * @throws RangeError unless `order` holds each of `0 … width - 1` once.
 */
export function permuteColumns(rows: Float32Array, order: Int32Array): Float32Array {
  const width = order.length;
  if (new Set(order).size !== width || order.some((j) => j < 0 || j >= width) || rows.length % width)
    throw new RangeError(
      `permuteColumns: the order is no permutation of the columns of ${rows.length} values`,
    );
  return rows.map((_, i) => rows[i - (i % width) + order[i % width]!]!);
}
