/**
 * Whether a node may use the disk below its data directory: looks, judges, and asks for a recorded override where the
 * judgement is `Reject` (specification §14). What was found goes into every `boot_record.json`.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ClustorError } from '../base/errors.ts';
import {
  judgeDiskHygiene,
  judgeDiskOverride,
  type DiskFacts,
  type DiskHygiene,
  type DiskJudgement,
  type DiskOverride,
  type OverrideVerdict,
} from '../policy/disk-hygiene.ts';
import type { Observer } from '../ports/observer.ts';
import { diskFactsOf } from './disk-facts.ts';

/** What to do about a disk that is rejected. @public */
export type DiskPolicy = 'refuse' | 'warn';

/** What was found, as a boot record keeps it. */
export interface DiskReport {
  readonly verdict: DiskHygiene;
  readonly facts: DiskFacts;
  readonly findings: DiskJudgement['findings'];
  /** The decision under which a rejected disk is used. */
  readonly override: DiskOverride | undefined;
}

/** Name of the file in a data directory that records such a decision. */
export const overrideFileName = 'disk_override.json';

/** Where nobody waits: as many syncs as the specification asks for. */
export const wholeProbe: { readonly samplesMax: number; readonly msMax: number } = {
  samplesMax: 128,
  msMax: 5_000,
};
/** A development cluster is to be ready at once. */
const shortProbe = { samplesMax: 128, msMax: 150 };

/** Looks at the disk of a node that is about to start. @throws ClustorError `CLUSTOR_DISK_UNSAFE` under the policy `refuse`. */
export async function admitDisk(options: {
  readonly directory: string;
  readonly policy: DiskPolicy;
  readonly wallMs: number;
  readonly observer: Observer;
}): Promise<DiskReport> {
  const { directory, policy, wallMs, observer } = options;
  await mkdir(directory, { recursive: true });
  const facts = await diskFactsOf(directory, policy === 'refuse' ? wholeProbe : shortProbe);
  const { verdict, findings } = judgeDiskHygiene(facts);
  for (const { finding, verdict: own, text, advice } of findings) {
    if (own === 'Allow') continue;
    const level = own === 'Reject' ? 'error' : 'warn';
    observer.emit({ level, kind: 'diskHygiene', fields: { finding, verdict: own, text, advice } });
  }
  const found = { verdict, facts, findings };
  if (verdict !== 'Reject' || policy === 'warn') return { ...found, override: undefined };
  const recorded = await diskOverrideOf(directory, wallMs);
  const reasons = findings.filter((row) => row.verdict === 'Reject').map((row) => row.text);
  if (recorded?.kind !== 'valid') throw unsafe(directory, reasons, recorded);
  const { attestedBy, ticket, reason, expiresAtMs } = recorded.override;
  observer.emit({
    level: 'warn',
    kind: 'diskOverrideUsed',
    fields: { attestedBy, ticket, reason, expiresAtMs, findings: reasons.join('; ') },
  });
  return { ...found, override: recorded.override };
}

/** The override of a data directory, if it has one. */
export async function diskOverrideOf(
  directory: string,
  wallMs: number,
): Promise<OverrideVerdict | undefined> {
  const text = await readFile(join(directory, overrideFileName), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : judgeDiskOverride(text, wallMs);
}

function unsafe(
  directory: string,
  reasons: readonly string[],
  recorded: Exclude<OverrideVerdict, { kind: 'valid' }> | undefined,
): ClustorError {
  const why =
    recorded === undefined
      ? `there is no ${overrideFileName}`
      : recorded.kind === 'expired'
        ? `${overrideFileName} has expired on ${new Date(recorded.override.expiresAtMs).toISOString()}`
        : `${overrideFileName} does not count: ${recorded.reason}`;
  return new ClustorError(
    'CLUSTOR_DISK_UNSAFE',
    `the disk of ${directory} is not safe: ${reasons.join('; ')}; ${why}`,
    { details: { directory } },
  );
}
