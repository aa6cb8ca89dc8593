/**
 * `npm run crash-matrix -- [--json] [--stride N] [--subsets N]`: a real log store lives through a story on a simulated disk, once without and
 * once with encryption; behind each change of the disk every state that a crash may leave there is recovered and compared with what had been promised. All
 * subsets of unsynced sectors, names and sizes where there are at most N of them, else none, all, each alone, all but each, every
 * prefix, and some at random. The last line is JSON with the number of distinct states, lost acknowledgements and needless quarantines.
 */
import { refuseArguments, toolArguments, wholeNumber } from '../scripts/tool-arguments.ts';
import { runCrashMatrix, type ChapterResult } from './crash-matrix/matrix.ts';

const usage = 'npm run crash-matrix -- [--json] [--stride N] [--subsets N]';
const shownMax = 10;
const values = toolArguments(usage, {
  json: { type: 'boolean', default: false },
  stride: { type: 'string', default: '1' },
  subsets: { type: 'string', default: '6' },
});
const stride = wholeNumber('stride', values.stride, usage);
if (stride < 1) refuseArguments('--stride takes a number from 1 on', usage);
const subsetPartsMax = wholeNumber('subsets', values.subsets, usage);
if (subsetPartsMax > 16) refuseArguments('--subsets takes at most 16', usage);
const startedMs = performance.now();
const results: ChapterResult[] = [];
for (const isEncrypted of [false, true]) {
  const told = await runCrashMatrix({
    isEncrypted,
    subsetPartsMax,
    stride,
    progress: (done, of, chapter) => {
      if (process.stderr.isTTY) process.stderr.write(`\r${chapter}: ${done}/${of}   `);
    },
  });
  const kind = isEncrypted ? 'encrypted' : 'plain';
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
const count = (kind: string): number => findings.filter((finding) => finding.kind === kind).length;
process.stdout.write(
  `${JSON.stringify({
    states: results.reduce((sum, { states }) => sum + states, 0),
    moments: results.reduce((sum, { moments }) => sum + moments, 0),
    exhausted: results.reduce((sum, { exhausted }) => sum + exhausted, 0),
    lostAcks: count('lostAck'),
    needlessQuarantines: count('needlessQuarantine'),
    wrong: count('wrong'),
    seconds: Math.round((performance.now() - startedMs) / 1000),
  })}\n`,
);
process.exitCode = findings.length === 0 ? 0 : 1;
