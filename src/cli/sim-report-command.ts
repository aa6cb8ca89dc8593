/** `clustor sim report`: one simulated run as a page that opens from disk. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ClustorError } from '../base/errors.ts';
import {
  reportPage,
  viewerScripts,
  viewerStyle,
  type PageAssets,
} from '../testing/report/report-page.ts';
import { userProduct } from '../testing/product/user-product.ts';
import { RunRecorder } from '../testing/report/run-recorder.ts';
import { runSimulation, type SimRunReport } from '../testing/sim-run.ts';
import { colours } from './colours.ts';
import { exitCodes } from './exit-codes.ts';
import type { Output } from './output.ts';
import { loadSimModule } from './sim-module.ts';

/** Options of `clustor sim report`. */
export interface SimReportOptions {
  readonly seed: number;
  /** Where the page goes; `run-<seed>.html` without it. */
  readonly output?: string;
  /** Only the first so many faults of the plan happen. */
  readonly faultsMax?: number;
  /** Only the faults of the plan at these positions happen. */
  readonly faultsKept?: readonly number[];
  /** A user's own state machine and workload; without it the simulator's registers and counters. */
  readonly module?: string;
}

/** The scripts and the style lie beside the compiled sources, as beside the sources themselves. */
const viewerFolder = new URL('../testing/report/viewer/', import.meta.url);
const progressEveryMs = 100;

/** Runs a seed and writes its page; the exit code tells whether every invariant held. */
export async function runSimReport(options: SimReportOptions, output: Output): Promise<number> {
  const { seed, faultsMax, faultsKept, module } = options;
  const path = resolve(options.output ?? `run-${seed}.html`);
  await checkTarget(path);
  const userModule = module === undefined ? undefined : await loadSimModule(module);
  const recorder = new RunRecorder();
  const progress = new Progress(recorder);
  const report = await runSimulation({
    seed,
    drainMicrotasks: () => progress.drainMicrotasks(),
    tap: recorder,
    onEvent: recorder.onEvent,
    ...(faultsMax === undefined ? {} : { faultsMax }),
    ...(faultsKept === undefined ? {} : { faultsKept }),
    ...(userModule === undefined
      ? {}
      : // What is found is the run's violation too: the page shows that.
        { createProduct: userProduct({ ...userModule, onFinding: () => undefined }) }),
  });
  progress.end();
  await writeFile(path, reportPage(recorder.picture(report), await readViewer()));
  const { violation, traceHash } = report;
  const messages = recorder.messageCount;
  output.result(
    { seed, output: path, violation: violation ?? null, messages, traceHash },
    resultText(report, { path, messages }),
  );
  return violation === undefined ? exitCodes.done : exitCodes.failed;
}

/** What cannot be written is told before the run, not after it. */
async function checkTarget(path: string): Promise<void> {
  const folder = await stat(dirname(path)).catch(() => undefined);
  const target = await stat(path).catch(() => undefined);
  if (folder?.isDirectory() === true && target?.isDirectory() !== true) return;
  throw new ClustorError(
    'CLUSTOR_INVALID_ARGUMENT',
    `--output needs a file in a folder that exists, got ${path}`,
  );
}

async function readViewer(): Promise<PageAssets> {
  const read = (name: string): Promise<string> =>
    readFile(fileURLToPath(new URL(name, viewerFolder)), 'utf8');
  const [style, ...scripts] = await Promise.all([viewerStyle, ...viewerScripts].map(read));
  return { style: style ?? '', scripts };
}

function resultText(
  { violation, simulatedMs, operations, seed }: SimRunReport,
  written: { readonly path: string; readonly messages: number },
): string {
  const verdict =
    violation === undefined
      ? colours.green('every invariant held')
      : colours.red(`violation ${violation}`);
  return `seed ${seed}: ${(simulatedMs / 1000).toFixed(1)} simulated s, ${operations} operations, ${written.messages} messages: ${verdict}\n${written.path}`;
}

/** Says on a terminal how far the run is, between two of its events. */
class Progress {
  readonly #recorder: RunRecorder;
  #shownMs = performance.now();
  #isShown = false;

  constructor(recorder: RunRecorder) {
    this.#recorder = recorder;
  }

  /** Resolves when no microtask is left. */
  drainMicrotasks(): Promise<void> {
    if (process.stderr.isTTY && performance.now() - this.#shownMs >= progressEveryMs) this.#show();
    return new Promise((resolveDrain) => setImmediate(resolveDrain));
  }

  /** Clears the line. */
  end(): void {
    if (this.#isShown) process.stderr.write('\r\u001b[K');
  }

  #show(): void {
    this.#shownMs = performance.now();
    this.#isShown = true;
    const { nowMs, messageCount } = this.#recorder;
    process.stderr.write(
      `\r${(nowMs / 1000).toFixed(1)} simulated s, ${messageCount} messages \u001b[K`,
    );
  }
}
