/**
 * `npm run crash-matrix -- [--json] [--stride N] [--subsets N] [--chapter TEXT]`: a real log store lives through a story on a simulated disk, once without and
 * once with encryption; behind each change of the disk every state that a crash may leave there is recovered and compared with what had been promised. All
 * subsets of unsynced sectors, names and sizes where there are at most N of them, else none, all, each alone, all but each, every
 * prefix, and some at random. With `--chapter` only chapters whose names hold the text are judged. The last line is JSON with the number of distinct states, lost acknowledgements and needless quarantines.
 *
 * `npm run crash-matrix -- --flips [--json] [--stride N]`: one bit flipped at every byte of a small data directory instead, once without
 * and once with encryption, each on a fresh copy that is opened, read and scrubbed. The last line counts what became of the flips.
 */
import { refuseArguments, toolArguments, wholeNumber } from '../scripts/tool-arguments.ts';
import { runFlips, type FlipReport } from './crash-matrix/flips.ts';
import { runCrashMatrix, type ChapterResult } from './crash-matrix/matrix.ts';

const usage =
  'npm run crash-matrix -- [--flips] [--json] [--stride N] [--subsets N] [--chapter TEXT]';
const shownMax = 10;
const values = toolArguments(usage, {
  flips: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  stride: { type: 'string', default: '1' },
  subsets: { type: 'string', default: '6' },
  chapter: { type: 'string', default: '' },
});
const stride = wholeNumber('stride', values.stride, usage);
const subsetPartsMax = wholeNumber('subsets', values.subsets, usage);
if (subsetPartsMax > 16) refuseArguments('--subsets takes at most 16', usage);
const startedMs = performance.now();
const secondsSoFar = (): number => Math.round((performance.now() - startedMs) / 1000);
process.exitCode = (await (values.flips ? flipBits() : crashEverywhere())) ? 0 : 1;

/** Whether nothing was found. */
async function crashEverywhere(): Promise<boolean> {
  const results: ChapterResult[] = [];
  for (const isEncrypted of [false, true]) {
    const told = await runCrashMatrix({
      isEncrypted,
      subsetPartsMax,
      stride,
      chapter: values.chapter,
      progress: (done, of, chapter) => {
        showProgress(`${chapter}: ${done}/${of}`);
      },
    });
    const kind = kindOf(isEncrypted);
    results.push(...told.map((row) => ({ ...row, chapter: `${kind}, ${row.chapter}` })));
  }
  const findings = results.flatMap(({ chapter, findings: found }) =>
    found.map((finding) => ({ chapter, ...finding })),
  );
  if (!values.json) {
    for (const { chapter, moments, exhausted, states } of results)
      process.stdout.write(
        `${chapter}: ${moments} moments, ${exhausted} with every subset, ${states} states\n`,
      );
  }
  for (const { chapter, moment, kind, message } of findings.slice(0, shownMax))
    process.stdout.write(`${kind} in "${chapter}", moment ${moment}: ${message}\n`);
  const count = (kind: string): number =>
    findings.filter((finding) => finding.kind === kind).length;
  process.stdout.write(
    `${JSON.stringify({
      states: results.reduce((sum, { states }) => sum + states, 0),
      moments: results.reduce((sum, { moments }) => sum + moments, 0),
      exhausted: results.reduce((sum, { exhausted }) => sum + exhausted, 0),
      lostAcks: count('lostAck'),
      needlessQuarantines: count('needlessQuarantine'),
      wrong: count('wrong'),
      seconds: secondsSoFar(),
    })}\n`,
  );
  return findings.length === 0;
}

/** Whether every flip became what it must. */
async function flipBits(): Promise<boolean> {
  const reports: FlipReport[] = [];
  for (const isEncrypted of [false, true]) {
    const kind = kindOf(isEncrypted);
    const report = await runFlips({
      isEncrypted,
      stride,
      first: 0,
      progress: (done, of) => {
        showProgress(`${kind}: ${done}/${of}`);
      },
    });
    reports.push(report);
    if (values.json) continue;
    for (const { file, what, rule, flips, verdicts } of report.rows) {
      const became = Object.entries(verdicts).filter(([, count]) => count > 0);
      const counts = became.map(([verdict, count]) => `${count} ${verdict}`).join(', ');
      process.stdout.write(`${kind}, ${file}, ${what} (${rule}): ${flips} flips, ${counts}\n`);
    }
    for (const [how, count] of Object.entries(report.detectedBy))
      process.stdout.write(`${kind}, detected by ${how}: ${count}\n`);
  }
  const findings = reports.flatMap((report) => report.findings);
  for (const { path, what, offset, bit, rule, verdict, how } of findings.slice(0, shownMax))
    process.stdout.write(
      `${path} byte ${offset} bit ${bit} (${what}): must be ${rule}, is ${verdict} ${how}\n`,
    );
  const rows = reports.flatMap((report) => report.rows);
  const sum = (verdict: keyof (typeof rows)[number]['verdicts']): number =>
    rows.reduce((total, { verdicts }) => total + verdicts[verdict], 0);
  process.stdout.write(
    `${JSON.stringify({
      flips: rows.reduce((total, { flips }) => total + flips, 0),
      harmless: sum('harmless'),
      detected: sum('detected'),
      served: sum('served'),
      lost: sum('lost'),
      broken: sum('broken'),
      againstTheTable: findings.length,
      seconds: secondsSoFar(),
    })}\n`,
  );
  return findings.length === 0;
}

function kindOf(isEncrypted: boolean): 'encrypted' | 'plain' {
  return isEncrypted ? 'encrypted' : 'plain';
}

function showProgress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${text}   `);
}
