import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { faultKinds } from '../../sim/chaos-faults.ts';
import { runChaos } from '../../sim/chaos-run.ts';
import { judgeHistoryFile } from '../../src/testing/history-judge.ts';
import { formatEvent, parseHistory } from '../../src/testing/history.ts';
import { scratchDirectory } from './support/up-process.ts';

/** Another one: `TEST_SEED=7 npx vitest run …`. */
const seed = Number(process.env['TEST_SEED'] ?? 1);

test(`a short storm of kills, pauses and cuts leaves a linearizable history (seed ${seed})`, async () => {
  const directory = scratchDirectory('chaos');
  const out = join(directory, 'history.jsonl');

  const report = await runChaos({
    ...{ directory, seconds: 12, kinds: faultKinds, seed, out },
    ...{ nodeCount: 3, workers: 8, note: () => undefined },
  });

  expect(report).toMatchObject({ linearizable: true, lost: 0, problems: [] });
  expect(report.acknowledged).toBeGreaterThan(200);
  expect(report.faults.kill + report.faults.pause + report.faults.cut).toBeGreaterThan(0);

  // The file alone tells the same, and one changed answer in it is found out.
  const text = readFileSync(out, 'utf8');
  const judged = judgeHistoryFile(text);
  expect(judged.verdict).toBe('linearizable');
  expect(judged.ok).toBeGreaterThanOrEqual(200);
  const events = parseHistory(text.split('\n'));
  const at = events.findIndex(
    ({ type, op, value }) => type === 'ok' && op === 'read' && value !== null,
  );
  const altered = events.map((event, index) =>
    index === at ? { ...event, value: 'never written' } : event,
  );
  expect(judgeHistoryFile(altered.map(formatEvent).join('\n')).verdict).toBe('violation');
});
