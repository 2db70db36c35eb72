import { describeUnit, type LabEvent, unitId } from "@prior-art/lab";
import { Presets, SingleBar } from "cli-progress";
import { duration } from "./columns.ts";

/** A reproduction that a progress view counts. */
export interface Job {
  readonly title: string;
  /** How long it is expected to take, in any unit that all jobs of a view share. */
  readonly weight: number;
}

/** Shows one job's events. */
export interface JobView {
  onEvent(event: LabEvent): void;
  /** The job is over, whether or not it succeeded. */
  close(): void;
}

/** One bar with the time left over all jobs on a terminal, a line every tenth elsewhere. */
export interface ProgressView {
  /** The view of job `index`; several may run at the same time. */
  job(index: number): JobView;
  close(): void;
}

export function progressView(jobs: readonly Job[], output: NodeJS.WriteStream): ProgressView {
  const started = performance.now();
  const whole = jobs.reduce((sum, { weight }) => sum + weight, 0);
  const show = output.isTTY ? bar(output) : sparseLines(output);
  /** Shares of the whole that are done, job by job, and that were found in the store instead of run. */
  const doneOf = new Float64Array(jobs.length);
  let stored = 0;
  const timeLeft = (fraction: number) => {
    const elapsed = (performance.now() - started) / 1000;
    const here = fraction - stored;
    // The first second goes into starting threads and says nothing about units.
    return here <= 0 || elapsed < 1 ? "…" : duration((Math.max(0, 1 - fraction) / here) * elapsed);
  };
  return {
    job(index) {
      const { title: name, weight } = jobs[index]!;
      const title = jobs.length > 1 ? `[${index + 1}/${jobs.length}] ${name}` : name;
      const share = weight / whole;
      const running = new Map<string, number>();
      let planned = 0;
      let done = 0;
      const update = (doing: string) => {
        const finished = planned ? (done + [...running.values()].reduce((a, b) => a + b, 0)) / planned : 0;
        doneOf[index] = share * finished;
        const fraction = doneOf.reduce((sum, part) => sum + part, 0);
        show.update(title, fraction, timeLeft(fraction), doing);
      };
      return {
        onEvent(event) {
          if (event.type === "planned") {
            planned = event.units;
          } else if (event.type === "pretraining") {
            show.note(title, `pretraining ${event.name}, once`);
          } else if (event.type === "progress") {
            const { step, of } = event.progress;
            running.set(unitId(event.unit), of > 0 ? step / of : 0);
            update(describeUnit(event.unit));
          } else {
            running.delete(unitId(event.result));
            done = event.done;
            if (event.stored) stored += share / planned;
            update(describeUnit(event.result));
          }
        },
        close() {
          doneOf[index] = share;
        },
      };
    },
    close: show.close,
  };
}

interface View {
  update(title: string, fraction: number, timeLeft: string, unit: string): void;
  note(title: string, text: string): void;
  close(): void;
}

function bar(stream: NodeJS.WriteStream): View {
  const single = new SingleBar(
    {
      format: "{title} {bar} {percentage}% · {left} left · {unit}",
      stream,
      hideCursor: true,
      clearOnComplete: true,
      linewrap: false,
    },
    Presets.shades_classic,
  );
  single.start(1000, 0, { title: "", left: "…", unit: "" });
  return {
    update: (title, fraction, left, unit) =>
      single.update(Math.round(1000 * fraction), { title, left, unit }),
    note: (title, unit) => single.update({ title, unit }),
    close: () => single.stop(),
  };
}

function sparseLines(output: NodeJS.WriteStream): View {
  let shown = 0;
  return {
    update(title, fraction, left) {
      const tenths = Math.floor(10 * fraction + 1e-9);
      if (tenths <= shown) return;
      shown = tenths;
      output.write(`${title}: ${tenths * 10}%, ${left} left\n`);
    },
    note: (title, text) => output.write(`${title}: ${text}\n`),
    close() {},
  };
}
