/**
 * Wrong variants of the product, to show that tests, random schedules and the simulator notice (`npm run mutants`,
 * `npm run sim -- --mutant name`). A mutant is a change of one source text, applied to a copy of the sources in a temporary
 * folder: the product itself has no switch that makes it wrong.
 */
import { cpSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { changeMutants } from './mutants/changes.ts';
import { compactionMutants } from './mutants/compaction.ts';
import { diskMutants } from './mutants/disk.ts';
import { electionMutants } from './mutants/elections.ts';
import { encryptionMutants } from './mutants/encryption.ts';
import { evidenceMutants } from './mutants/evidence.ts';
import { hibernationMutants } from './mutants/hibernation.ts';
import { integrityMutants } from './mutants/integrity.ts';
import { leaseMutants } from './mutants/leases.ts';
import { membershipMutants } from './mutants/membership.ts';
import type { Mutant } from './mutants/mutant.ts';
import { quarantineMutants } from './mutants/quarantine.ts';
import { readMutants } from './mutants/reads.ts';
import { replicationMutants } from './mutants/replication.ts';
import { snapshotMutants } from './mutants/snapshots.ts';
import { storageMutants } from './mutants/storage.ts';
import { writerModeMutants } from './mutants/writer-modes.ts';

/** All mutants, by the part of the product that they break. */
export const mutants: readonly Mutant[] = [
  ...electionMutants,
  ...replicationMutants,
  ...membershipMutants,
  ...changeMutants,
  ...hibernationMutants,
  ...readMutants,
  ...leaseMutants,
  ...storageMutants,
  ...writerModeMutants,
  ...diskMutants,
  ...encryptionMutants,
  ...integrityMutants,
  ...quarantineMutants,
  ...evidenceMutants,
  ...compactionMutants,
  ...snapshotMutants,
];

/** What the checks need of the repository. */
const copiedParts = [
  'src',
  'sim',
  'scripts',
  'test',
  'package.json',
  'tsconfig.json',
  'tsconfig.base.json',
  'vitest.config.ts',
];

/** Copies the sources with a mutant in place, or as they are; returns the folder. */
export function plantMutant(root: string, mutant: Mutant | undefined): string {
  const folder = mkdtempSync(join(tmpdir(), `clustor-mutant-${mutant?.name ?? 'none'}-`));
  for (const part of copiedParts) cpSync(join(root, part), join(folder, part), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  for (const [file, text] of mutant === undefined ? [] : mutatedTexts(root, mutant))
    writeFileSync(join(folder, file), text);
  return folder;
}

/** The texts that a mutant changes, by file. @throws Error when a text to be changed does not stand exactly once. */
export function mutatedTexts(root: string, mutant: Mutant): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const { file = mutant.file, find, replace } of mutant.edits) {
    const parts = (texts.get(file) ?? readFileSync(join(root, file), 'utf8')).split(find);
    if (parts.length !== 2)
      throw new Error(
        `"${find}" of mutant ${mutant.name} stands ${parts.length - 1} times in ${file}`,
      );
    texts.set(file, parts.join(replace));
  }
  return texts;
}
