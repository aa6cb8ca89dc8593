/**
 * `npm run fuzz -- [--inputs N] [--seconds S] [--target name,name] [--seed N] [--json]`: every decoder, and recovery, on wrong
 * inputs: each is taken and means the same when it is written again, or is refused with a code that is documented; nothing
 * is thrown besides, nothing hangs, nothing is allocated because a length says so. The last line is JSON.
 * `npm run fuzz -- --replay target:hex` runs one input.
 */
import { Worker } from 'node:worker_threads';

import { refuseArguments, toolArguments, wholeNumber } from '../scripts/tool-arguments.ts';
import { tableText } from '../src/cli/output.ts';
import { runFuzz, tryInput, type Finding } from './fuzz/run-fuzz.ts';
import type { FuzzTarget } from './fuzz/target.ts';
import { fuzzTargets } from './fuzz/targets.ts';

const usage = `npm run fuzz -- [--inputs N] [--seconds S] [--target name,name] [--seed N] [--json]
npm run fuzz -- --replay target:hex`;
/** A call that has not come back by then never will. */
const hangMs = 20_000;
const inputBytesWatched = 128 * 1024;

/** Plain JavaScript: a thread does not inherit the loader of this one. */
const watchSource = `
const { workerData } = require('node:worker_threads');
const { writeSync } = require('node:fs');
const words = new Int32Array(workerData.shared, 0, 4);
for (let seen = 0; ; seen = Atomics.load(words, 0)) {
  if (Atomics.wait(words, 3, 0, workerData.hangMs) && Atomics.load(words, 0) !== seen) continue;
  if (seen === 0) continue;
  const name = workerData.names[words[1]];
  const hex = Buffer.from(new Uint8Array(workerData.shared, 16, words[2])).toString('hex');
  writeSync(1, 'hang of ' + name + '\\n  npm run fuzz -- --replay ' + name + ':' + hex + '\\n');
  process.kill(process.pid, 'SIGKILL');
}
`;

const values = toolArguments(usage, {
  inputs: { type: 'string' },
  seconds: { type: 'string' },
  target: { type: 'string' },
  seed: { type: 'string', default: '1' },
  json: { type: 'boolean', default: false },
  replay: { type: 'string' },
});

if (values.replay !== undefined) await replay(values.replay);
else await fuzz(targetsOf(values.target));

function targetsOf(list: string | undefined): readonly FuzzTarget[] {
  return list === undefined ? fuzzTargets : list.split(',').map(named);
}

function named(name: string): FuzzTarget {
  const names = fuzzTargets.map((target) => target.name).join(', ');
  return (
    fuzzTargets.find((target) => target.name === name) ??
    refuseArguments(`there is no target "${name}"; there is ${names}`, usage)
  );
}

async function fuzz(targets: readonly FuzzTarget[]): Promise<void> {
  const startedMs = performance.now();
  const seconds = values.seconds ?? (values.inputs === undefined ? '60' : undefined);
  const endMs =
    seconds === undefined
      ? Number.POSITIVE_INFINITY
      : startedMs + 1000 * wholeNumber('seconds', seconds, usage);
  const inputsMax =
    values.inputs === undefined
      ? Number.MAX_SAFE_INTEGER
      : wholeNumber('inputs', values.inputs, usage);
  const watch = startWatch();
  const { findings, ...report } = await runFuzz({
    targets,
    seed: wholeNumber('seed', values.seed, usage),
    inputsMax,
    isOver: () => performance.now() > endMs,
    nowMs: () => performance.now(),
    onInput: watch.tell,
  });
  await watch.end();
  for (const finding of findings) show(finding);
  if (!values.json) {
    const rows = Object.entries(report.targets).map(([name, row]) => [
      name,
      ...[row.inputs, row.accepted, row.refused].map(String),
    ]);
    process.stdout.write(`${tableText(['target', 'inputs', 'accepted', 'refused'], rows)}\n`);
  }
  process.stdout.write(`${JSON.stringify(report)}\n`);
  process.exitCode = report.crashes + report.hangs === 0 ? 0 : 1;
}

function show({ target, kind, problem, input }: Finding): void {
  const hex = Buffer.from(input).toString('hex');
  process.stdout.write(`${kind} of ${target} (seed ${values.seed}): ${problem}\n`);
  process.stdout.write(`  npm run fuzz -- --replay ${target}:${hex}\n`);
}

async function replay(text: string): Promise<void> {
  const [name = '', hex = ''] = text.split(':');
  if (!/^([0-9a-f]{2})*$/i.test(hex)) refuseArguments('--replay takes target:hex', usage);
  const target = named(name);
  const watch = startWatch();
  const input = new Uint8Array(Buffer.from(hex, 'hex'));
  watch.tell(target, input);
  const outcome = await tryInput(target, input, () => performance.now());
  await watch.end();
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
  process.exitCode = 'problem' in outcome ? 1 : 0;
}

/**
 * Watches from another thread, because a loop that never ends lets nothing else run in this one: prints the input that did
 * not come back and ends the process.
 */
function startWatch(): {
  readonly tell: (target: FuzzTarget, input: Uint8Array) => void;
  readonly end: () => Promise<unknown>;
} {
  const shared = new SharedArrayBuffer(16 + inputBytesWatched);
  const words = new Int32Array(shared, 0, 4);
  const bytes = new Uint8Array(shared, 16);
  const worker = new Worker(watchSource, {
    eval: true,
    workerData: { shared, names: fuzzTargets.map(({ name }) => name), hangMs },
    execArgv: [],
  });
  worker.unref();
  return {
    tell: (target, input) => {
      bytes.set(input.subarray(0, inputBytesWatched));
      words[1] = fuzzTargets.indexOf(target);
      words[2] = Math.min(input.length, inputBytesWatched);
      Atomics.add(words, 0, 1);
    },
    end: () => worker.terminate(),
  };
}
