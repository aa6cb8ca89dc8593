/**
 * Wrong variants of the product, to show that the simulator notices. A mutant is a change of one source text, applied to a
 * copy of the sources in a temporary folder: the product itself has no switch that makes it wrong.
 */
import { cpSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A wrong variant. */
export interface Mutant {
  readonly name: string;
  /** The rule that it breaks. */
  readonly breaks: string;
  readonly file: string;
  readonly edits: readonly Edit[];
}

/** A change of a text that stands exactly once in its file. */
export interface Edit {
  readonly find: string;
  readonly replace: string;
}

/** All mutants. */
export const mutants: readonly Mutant[] = [
  {
    name: 'ack-before-ledger-sync',
    breaks:
      'KER-4: the completion of a flush of entries is told before its ledger record is synced',
    file: 'src/storage/log-store.ts',
    edits: [{ find: '...ledgerSteps]', replace: '...ledgerSteps.slice(0, 1)]' }],
  },
  {
    name: 'count-self-before-durable',
    breaks: 'KER-2: a leader counts its own entries as soon as they are appended',
    file: 'src/raft/leader.ts',
    edits: [
      {
        find: 'state.inDoubt ? 0 : state.durableIndex',
        replace: 'state.inDoubt ? 0 : state.log.lastIndex',
      },
    ],
  },
  {
    name: 'skip-own-term-rule',
    breaks: 'KER-1: a leader commits entries of earlier terms by counting (Raft, figure 8)',
    file: 'src/raft/leader.ts',
    edits: [
      { find: 'durableAtQuorum >= leader.termStartIndex', replace: 'durableAtQuorum > 0' },
      // The core's own assertion of the rule would stop the replica first.
      { find: '!isOwnTerm ||', replace: 'true ||' },
    ],
  },
];

/** Copies the sources with a mutant in place; returns the folder. */
export function plantMutant(root: string, mutant: Mutant): string {
  const folder = mkdtempSync(join(tmpdir(), `clustor-mutant-${mutant.name}-`));
  for (const part of [
    'src',
    'sim',
    'scripts',
    'package.json',
    'tsconfig.json',
    'tsconfig.base.json',
  ])
    cpSync(join(root, part), join(folder, part), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  const path = join(folder, mutant.file);
  let text = readFileSync(path, 'utf8');
  for (const { find, replace } of mutant.edits) {
    const parts = text.split(find);
    if (parts.length !== 2)
      throw new Error(
        `"${find}" of mutant ${mutant.name} stands ${parts.length - 1} times in ${mutant.file}`,
      );
    text = parts.join(replace);
  }
  writeFileSync(path, text);
  return folder;
}
