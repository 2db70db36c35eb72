/** The part of jStat in use; the library ships no types. */
declare module "jstat" {
  const jStat: {
    normal: {
      cdf(x: number, mean: number, std: number): number;
      inv(p: number, mean: number, std: number): number;
    };
    chisquare: { cdf(x: number, dof: number): number; inv(p: number, dof: number): number };
    studentt: { cdf(x: number, dof: number): number; inv(p: number, dof: number): number };
  };
  export default { jStat };
}
