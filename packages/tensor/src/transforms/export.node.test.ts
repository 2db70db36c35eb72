import ort from "onnxruntime-node";
import { expect, test } from "vitest";
import {
  add,
  cond,
  greater,
  jit,
  linalg,
  matmul,
  mul,
  random,
  scan,
  sum,
  type Tensor,
  tanh,
  tensor,
  toOnnx,
} from "../index.ts";

/** Runs a model file as any other program would. */
async function runFile(
  model: Uint8Array,
  inputs: Readonly<Record<string, Tensor>>,
): Promise<Record<string, number[]>> {
  const session = await ort.InferenceSession.create(model);
  expect([...session.inputNames].sort()).toEqual(Object.keys(inputs).sort());
  const feeds: Record<string, ort.Tensor> = {};
  for (const [name, t] of Object.entries(inputs))
    feeds[name] = new ort.Tensor(t.dtype as "float32", (await t.data()) as Float32Array, t.shape);
  const results = await session.run(feeds);
  return Object.fromEntries(
    Object.entries(results).map(([name, t]) => [name, [...(t.data as Float32Array)]]),
  );
}

const params = { layer: { weight: random.normal(random.key(1), [3, 2]) } };
const x = random.normal(random.key(2), [4, 3]);

test("a saved function gives the same numbers, with names from its arguments", async () => {
  const f = jit((p: typeof params, input: Tensor) => {
    const [state, steps] = scan(
      (s: Tensor, row: Tensor): [Tensor, Tensor] => [add(s, sum(row)), mul(s, 2)],
      sum(input),
      tanh(matmul(input, p.layer.weight)),
    );
    return {
      state,
      steps,
      chosen: cond(
        greater(state, 0),
        () => mul(state, 3),
        () => mul(state, 5),
      ),
    };
  });
  const ours = await f(params, x);
  const model = toOnnx(f);
  const theirs = await runFile(model, { "input0.layer.weight": params.layer.weight, input1: x });
  expect(Object.keys(theirs).sort()).toEqual(["output.chosen", "output.state", "output.steps"]);
  expect(theirs["output.steps"]).toEqual([...(await ours.steps.data())]);
  expect(theirs["output.state"]).toEqual([...(await ours.state.data())]);
  expect(theirs["output.chosen"]).toEqual([...(await ours.chosen.data())]);
});

test("random draws become inputs", async () => {
  const f = jit((key: Tensor, input: Tensor) => add(input, random.normal(key, [3])));
  const model = toOnnx(f, random.key(0), x);
  const noise = tensor([1, 2, 3]);
  const theirs = await runFile(model, { input1: x, random0: noise });
  expect(theirs.output).toEqual([...(await add(x, noise).data())]);
});

test("decompositions are composed of standard operators", async () => {
  const spd = tensor(new Float64Array([4, 1, 1, 3]), { shape: [2, 2] });
  const model = toOnnx(jit(linalg.cholesky), spd);
  const { output } = await runFile(model, { input0: spd });
  expect(output).toEqual([2, 0, 0.5, Math.sqrt(2.75)].map((v) => expect.closeTo(v, 12)));
});

test("a function that was never called needs example arguments", () => {
  expect(() => toOnnx(jit((a: Tensor) => a))).toThrow(/toOnnx: the function was not called yet/);
});
