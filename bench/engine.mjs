import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { networks } from "./engine/networks.mjs";

/** Seconds that each network is timed for, in training and again in inference. */
const SECONDS = Number(process.env.BENCH_SECONDS ?? 1);
/** All runtimes take turns this often, so that a slow spell of the machine doesn't fall on one of them. */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 2);

const file = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Runs a measuring program in a process of its own, and gives the JSON document that it prints; undefined if it fails. */
function measure(command, args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let out = "";
    let err = "";
    child.stdout.on("data", (chunk) => (out += chunk));
    child.stderr.on("data", (chunk) => (err += chunk));
    child.on("error", () => resolve({ failure: `${command} is not installed` }));
    child.on("close", (code) => {
      if (code === 0) resolve(JSON.parse(out));
      else resolve({ failure: err.trim().split("\n").at(-1) || `${command} ended with ${code}` });
    });
  });
}

/** The best of several runs, network by network: each runtime is measured at the setting that suits it. */
function best(runs) {
  const results = {};
  for (const { results: found } of runs)
    for (const [name, times] of Object.entries(found)) {
      results[name] ??= {};
      for (const [phase, ms] of Object.entries(times))
        results[name][phase] = Math.min(ms, results[name][phase] ?? Number.POSITIVE_INFINITY);
    }
  return results;
}

async function ours() {
  const runs = [];
  for (const threads of [1, 2]) {
    const run = await measure(process.execPath, [file("engine/ours.mjs"), String(threads), String(SECONDS)]);
    if (run.failure) throw new Error(`the engine's own measurement failed: ${run.failure}`);
    runs.push(run);
  }
  return { name: "Prior Art", results: best(runs) };
}

/** PyTorch's own threads and those of its BLAS are set apart, since a BLAS that spins beside them slows it down. */
const torchSettings = [
  ["1", { OPENBLAS_NUM_THREADS: "1", OMP_NUM_THREADS: "1" }],
  ["1", { OPENBLAS_NUM_THREADS: "2" }],
  ["2", { OPENBLAS_NUM_THREADS: "1" }],
  ["2", { OPENBLAS_NUM_THREADS: "2" }],
];

async function torch(notice) {
  const runs = [];
  for (const python of [process.env.PRIOR_ART_PYTHON, "/usr/bin/python3", "python3"].filter(Boolean)) {
    for (const [threads, env] of torchSettings) {
      const run = await measure(python, [file("engine/peers/pytorch.py"), threads, String(SECONDS)], env);
      if (run.failure) {
        notice(
          `PyTorch (${python}): ${run.failure}; install python3-torch and libopenblas0 to compare with it`,
        );
        break;
      }
      runs.push(run);
    }
    if (runs.length > 0) break;
  }
  return runs.length === 0 ? undefined : { name: `PyTorch ${runs[0].version} CPU`, results: best(runs) };
}

async function javascriptPeer(program, notice) {
  const run = await measure(process.execPath, [file(`engine/peers/${program}`), String(SECONDS)]);
  if (run.failure) {
    notice(`${program}: ${run.failure}`);
    return undefined;
  }
  for (const message of run.notices ?? []) notice(`${run.name}: ${message}`);
  return run;
}

/** Training steps and inference of eight networks, against each peer that is installed. */
export async function run({ notice }) {
  const contestants = [
    ours,
    torch,
    (say) => javascriptPeer("tfjs.mjs", say),
    (say) => javascriptPeer("jax.mjs", say),
  ];
  const runs = contestants.map(() => []);
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, contestant] of contestants.entries()) {
      const found = await contestant(round === 0 ? notice : () => undefined);
      if (found !== undefined) runs[i].push(found);
    }
  const [{ results: own }, ...peers] = runs
    .filter((found) => found.length > 0)
    .map((found) => ({ name: found[0].name, results: best(found) }));
  const rows = [];
  for (const peer of peers) {
    const ratios = { train: [], inference: [] };
    for (const name of Object.keys(networks))
      for (const phase of ["train", "inference"]) {
        const cost = peer.results[name]?.[phase];
        if (cost === undefined) continue;
        const ratio = cost / own[name][phase];
        ratios[phase].push(ratio);
        rows.push({
          suite: "engine",
          case: `${name} ${phase}`,
          ours: own[name][phase],
          peer: cost,
          peerName: peer.name,
          ratio,
        });
      }
    for (const [phase, values] of Object.entries(ratios)) {
      const mean = Math.exp(values.reduce((sum, r) => sum + Math.log(r), 0) / values.length);
      if (values.length > 0)
        notice(`${peer.name}: geometric mean of ${values.length} ${phase} ratios ${mean.toFixed(2)}`);
    }
  }
  for (const [name, { compile }] of Object.entries(own))
    notice(`${name}: compiling the training loop takes ${compile.toFixed(0)} ms`);
  return rows;
}
