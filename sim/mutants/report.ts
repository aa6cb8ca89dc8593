/** What a run of mutants shows: rows on a terminal, and the reference page. */
import { basename } from 'node:path';
import pc from 'picocolors';
import type { CheckKind, Mutant } from './mutant.ts';

/** What became of one mutant. */
export interface MutantRow {
  readonly name: string;
  readonly breaks: string;
  readonly expected: CheckKind;
  /** `null`: it survived, or its check could not be run. */
  readonly caughtBy: CheckKind | null;
  /** The test or the violation that caught it; why not, where nothing did. */
  readonly by: string;
  readonly testFile: string | null;
  /** Seeds that were run until then, where there were any. */
  readonly seeds: number | null;
  /** Time of the check that caught it. */
  readonly ms: number;
}

/** The page that a whole run writes. */
export const mutantsPage = 'docs/reference/mutants.md';

/** The head of the rows. */
export function headText(nameWidth: number): string {
  return pc.bold(
    `  ${'mutant'.padEnd(nameWidth)}  ${'caught by'.padEnd(10)} ${'after'.padStart(9)}  rule that it breaks`,
  );
}

/** One row; what was not caught, or by another check than the one that is there for it, stands out. */
export function rowText(row: MutantRow, nameWidth: number): string {
  const { name, breaks, caughtBy, expected, by } = row;
  const mark = caughtBy === null ? pc.red('✗') : pc.green('✓');
  const colour = caughtBy === null ? pc.red : caughtBy === expected ? pc.green : pc.yellow;
  const line = `${mark} ${pc.bold(name.padEnd(nameWidth))}  ${colour((caughtBy ?? 'nobody').padEnd(10))} ${afterText(row).padStart(9)}  ${breaks}`;
  if (caughtBy === null) return `${line}\n    ${pc.red(by)}`;
  if (caughtBy === expected) return line;
  return `${line}\n    ${pc.yellow(`expected of ${expected}: ${by}`)}`;
}

/** The reference page. */
export function pageText(mutants: readonly Mutant[], rows: readonly MutantRow[]): string {
  const lines = mutants.map(({ name, breaks }) => {
    const row = rows.find((candidate) => candidate.name === name);
    return `| \`${name}\` | ${breaks} | ${row === undefined ? '' : catcherText(row)} |`;
  });
  return `# Mutants

Mistakes that are planted in the sources on purpose, one at a time, to see that somebody notices. Written by
\`npm run mutants -- --write\`; \`test/tidy/mutants.test.ts\` compares the names and the rules with the list in \`sim/mutants/\`.

\`\`\`console
npm run mutants                                   all of them; fails if one survives
npm run mutants -- --only second-vote-in-a-term   some of them, by name
npm run mutants -- --list                         the names, each with its rule
npm run mutants -- --seeds 200                    the simulator tries more seeds before it gives up
npm run mutants -- --checks simulator             whether simulated clusters alone would have found them
npm run sim -- --mutant second-vote-in-a-term     one of them, in the simulator alone
\`\`\`

Each is planted in a copy of the sources. The copy must still type-check, and the same checks must pass without the mutant. Then
the checks run, cheapest first, until one fails: the test files that are there for this mistake, the random schedules of
the core, simulated clusters. Only a failed test or a violation counts; a check that crashes or hangs has caught nothing.

| mutant | rule that is broken | caught by |
| --- | --- | --- |
${lines.join('\n')}
`;
}

function afterText({ seeds, ms }: MutantRow): string {
  return seeds === null
    ? `${(ms / 1000).toFixed(1)} s`
    : `${seeds} ${seeds === 1 ? 'seed' : 'seeds'}`;
}

function catcherText({ caughtBy, testFile, by, seeds }: MutantRow): string {
  const text = by.replaceAll('|', '\\|').replaceAll('\n', ' ');
  if (caughtBy === null) return '**nobody**';
  if (caughtBy === 'simulator') return `the simulator, at seed ${seeds ?? 1}: ${text}`;
  const file = testFile === null ? '' : `[${basename(testFile, '.test.ts')}](../../${testFile}): `;
  return `${file}${text}`;
}
