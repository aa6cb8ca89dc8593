/**
 * Chaos with real processes.
 *
 *     npm run chaos -- --seconds 60 --faults kill,pause,cut,slow,members,transfer --out history.jsonl [--seed n] [--dir folder] [--json]
 *     npm run chaos -- --failover 10 [--json]
 *     npm run chaos -- --moves 20 [--json]
 *
 * The first drives a cluster through the public client while processes are killed and paused, links are cut and
 * slow, members and leaders are changed by the command line; it writes the
 * history of every operation, and judges it: linearizable, nothing acknowledged lost, nothing done twice, all replicas equal.
 * The second kills the leader under load again and again and tells how long no write was acknowledged. The third adds, removes
 * and replaces voters by the command line and hands leadership over so many times, under load. All end with one line
 * of JSON; the exit code is 0 if all is well. The faults follow from the seed; how processes are scheduled does not.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { refuseArguments, toolArguments, wholeNumber } from '../scripts/tool-arguments.ts';
import { repositoryDirectory } from './chaos-cluster.ts';
import { runFailover } from './chaos-failover.ts';
import { faultKinds, type FaultKind } from './chaos-faults.ts';
import { runMoves } from './chaos-moves.ts';
import { runChaos } from './chaos-run.ts';

const problemsShownMax = 20;

const usage = `npm run chaos -- [--seconds 60] [--faults ${faultKinds.join(',')}] [--out history.jsonl] [--seed N] [--nodes N] [--workers N] [--pause-ms N] [--dir folder] [--json]
npm run chaos -- --failover 10 [--nodes N] [--workers N] [--dir folder] [--json]
npm run chaos -- --moves 20 [--seed N] [--workers N] [--dir folder] [--json]`;

const values = toolArguments(usage, {
  seconds: { type: 'string', default: '60' },
  faults: { type: 'string', default: faultKinds.join(',') },
  failover: { type: 'string' },
  /** Changes of membership by the command line, then so many transfers of leadership. */
  moves: { type: 'string' },
  out: { type: 'string' },
  seed: { type: 'string' },
  dir: { type: 'string' },
  nodes: { type: 'string', default: '3' },
  workers: { type: 'string', default: '10' },
  /** The longest pause between two operations of a worker: long runs need fewer of them. */
  'pause-ms': { type: 'string', default: '16' },
  json: { type: 'boolean', default: false },
});

function kindsOf(text: string): readonly FaultKind[] {
  return text
    .split(',')
    .filter((name) => name !== '')
    .map((name) => {
      const kind = faultKinds.find((known) => known === name);
      if (kind === undefined)
        return refuseArguments(`--faults takes ${faultKinds.join(', ')}, got "${name}"`, usage);
      return kind;
    });
}

/** The node processes run the built package. */
function build(): void {
  const script = join(repositoryDirectory, 'scripts', 'build.ts');
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', script], {
    cwd: repositoryDirectory,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) throw new Error('the package does not build');
}

function note(text: string): void {
  if (!values.json) console.log(`${(performance.now() / 1000).toFixed(1).padStart(7)} s  ${text}`);
}

async function main(directory: string): Promise<boolean> {
  const nodeCount = wholeNumber('nodes', values.nodes, usage);
  const workers = wholeNumber('workers', values.workers, usage);
  if (values.failover !== undefined) {
    const kills = wholeNumber('failover', values.failover, usage);
    const report = await runFailover({ directory, kills, nodeCount, workers, note });
    console.log(JSON.stringify(report));
    return report.lost === 0 && report.equal;
  }
  const seed = wholeNumber(
    'seed',
    values.seed ?? String(1 + Math.floor(Math.random() * 1e9)),
    usage,
  );
  note(`seed ${seed}`);
  if (values.moves !== undefined) {
    const transfers = wholeNumber('moves', values.moves, usage);
    const { problems, ...report } = await runMoves({ directory, transfers, seed, workers, note });
    for (const problem of problems.slice(0, problemsShownMax)) console.error(problem);
    console.log(JSON.stringify(report));
    return problems.length === 0;
  }
  const { problems, ...report } = await runChaos({
    directory,
    seconds: wholeNumber('seconds', values.seconds, usage),
    kinds: kindsOf(values.faults),
    seed,
    out: values.out === undefined ? undefined : resolve(values.out),
    nodeCount,
    workers,
    pauseMsMax: wholeNumber('pause-ms', values['pause-ms'], usage),
    note,
  });
  for (const problem of problems.slice(0, problemsShownMax)) console.error(problem);
  console.log(JSON.stringify(report));
  return problems.length === 0;
}

build();
const given = values.dir === undefined ? undefined : resolve(values.dir);
if (given !== undefined) mkdirSync(given, { recursive: true });
const directory = mkdtempSync(join(given ?? tmpdir(), 'clustor-chaos-'));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    process.exit(1);
  });
}
const isWell = await main(directory);
if (isWell) await rm(directory, { recursive: true, force: true, maxRetries: 5 });
else console.error(`data and logs of the nodes are in ${directory}`);
// Kept-alive connections of the reads from replicas would hold the process for seconds.
process.exit(isWell ? 0 : 1);
