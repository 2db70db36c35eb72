/**
 * Turns texts into unit vectors whose inner product measures how close their meanings are.
 *
 * Vectors of different `model`s live in different spaces and are never compared: the library stores the model's
 * name beside each vector and embeds again when the configured model changes.
 */
export interface Embedder {
  /** Name of the model, stored beside every vector. */
  readonly model: string;
  /** Length of the vectors. */
  readonly dimensions: number;
  /**
   * Embeds each text.
   *
   * @param texts any number of texts; long ones are cut at the model's limit
   * @returns one unit vector of `dimensions` numbers per text, in the same order
   */
  embed(texts: readonly string[]): Promise<Float32Array[]>;
}
