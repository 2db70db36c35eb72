import { describeUnit, type LabEvent, unitId } from "@prior-art/lab";
import { Presets, SingleBar } from "cli-progress";
import { duration } from "./columns.ts";

/** Shows one reproduction's events: a bar with the time left on a terminal, a line every tenth elsewhere. */
export interface ProgressView {
  onEvent(event: LabEvent): void;
  close(): void;
}

export function progressView(title: string, output: NodeJS.WriteStream): ProgressView {
  const started = performance.now();
  const running = new Map<string, number>();
  let planned = 0;
  let done = 0;
  let stored = 0;
  const fraction = () => (planned ? (done + [...running.values()].reduce((a, b) => a + b, 0)) / planned : 0);
  const timeLeft = () => {
    const elapsed = (performance.now() - started) / 1000;
    const here = fraction() * planned - stored;
    // The first second goes into starting threads and says nothing about units.
    if (here <= 0 || elapsed < 1) return "…";
    return duration((((1 - fraction()) * planned) / here) * elapsed);
  };
  const show = output.isTTY ? bar(title, output) : sparseLines(title, output);
  return {
    onEvent(event) {
      if (event.type === "planned") {
        planned = event.units;
      } else if (event.type === "progress") {
        running.set(unitId(event.unit), event.progress.of > 0 ? event.progress.step / event.progress.of : 0);
        show.update(fraction(), timeLeft(), describeUnit(event.unit));
      } else {
        running.delete(unitId(event.result));
        done = event.done;
        if (event.stored) stored++;
        show.update(fraction(), timeLeft(), describeUnit(event.result));
      }
    },
    close: show.close,
  };
}

interface View {
  update(fraction: number, timeLeft: string, unit: string): void;
  close(): void;
}

function bar(title: string, stream: NodeJS.WriteStream): View {
  const single = new SingleBar(
    {
      format: `${title} {bar} {percentage}% · {left} left · {unit}`,
      stream,
      hideCursor: true,
      clearOnComplete: true,
      linewrap: false,
    },
    Presets.shades_classic,
  );
  single.start(1000, 0, { left: "…", unit: "" });
  return {
    update: (fraction, left, unit) => single.update(Math.round(1000 * fraction), { left, unit }),
    close: () => single.stop(),
  };
}

function sparseLines(title: string, output: NodeJS.WriteStream): View {
  let shown = 0;
  return {
    update(fraction, left) {
      const tenths = Math.floor(10 * fraction + 1e-9);
      if (tenths <= shown) return;
      shown = tenths;
      output.write(`${title}: ${tenths * 10}%, ${left} left\n`);
    },
    close() {},
  };
}
