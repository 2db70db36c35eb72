import type { SequenceForm, Strategy } from "../games/index.ts";

/**
 * argmin over strategies of ⟨plan, loss⟩ + Σ_x plan(parent of x)/η(x) · KL(strategy(·|x) ‖ prior(·|x)), by one pass from
 * the leaves: the regularized leader under dilated entropy (Hoda et al. 2010; Kroer et al. 2015).
 *
 * @param loss `[sequences]`. @param rates `[infosets]`, η. @param prior a behaviour strategy without zeros.
 */
export function dilatedEntropyLeader(
  form: SequenceForm,
  loss: Float64Array,
  rates: Float64Array,
  prior: Strategy,
): Strategy {
  const total = loss.slice();
  const strategy = new Float64Array(form.sequences);
  strategy[0] = 1;
  for (let x = form.infosets.length - 1; x >= 0; x--) {
    const { first, actions, parent } = form.infosets[x]!;
    const rate = rates[x]!;
    const end = first + actions.length;
    let least = Number.POSITIVE_INFINITY;
    for (let s = first; s < end; s++) least = Math.min(least, total[s]!);
    let mass = 0;
    for (let s = first; s < end; s++) mass += strategy[s] = prior[s]! * Math.exp(-rate * (total[s]! - least));
    for (let s = first; s < end; s++) strategy[s]! /= mass;
    total[parent]! += least - Math.log(mass) / rate;
  }
  return strategy;
}
