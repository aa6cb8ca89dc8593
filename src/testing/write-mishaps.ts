/**
 * Writes that are reported done and synced, and are not: lost ones and misdirected ones.
 *
 * In the journal whatever they hit is claimed from whoever keeps the books, before anybody is told of the write. The ledger has
 * every flush twice: what costs one copy of a flush, once in the life of a file, costs nothing and needs no claim. No sync loses
 * both copies: a disk that takes the newest flush away whole cannot be told from one that never had it (specification §5.3).
 */
import { present } from '../base/assert.ts';
import { blockOffset, segmentSeqOfFileName } from '../codec/segment-format.ts';
import type { DiskPlace } from './damage-map.ts';
import type { FaultAction } from './fault-plan.ts';
import { pageBytes, type MediumPage, type SimFile } from './sim-disk-file.ts';
import type { SimDisk } from './sim-disk.ts';

/** A write that will go wrong. */
export type MishapAction = Extract<FaultAction, { kind: 'lostWrite' | 'misdirectedWrite' }>;

/** What a mishap needs to know. */
export interface MishapHooks {
  /** Asked before places are damaged, all at once. */
  readonly mayDamage: (places: readonly DiskPlace[]) => boolean;
  readonly happened: () => void;
}

const ledgerName = 'durability.log';
/** A write may land so many pages behind the last one that was written. */
const pagesBehindMax = 3;

const hurtLedgers = new WeakSet<SimFile>();

/** Whether a file is a ledger that has lost a copy of a flush. */
export function isHurtLedger(file: SimFile | undefined): boolean {
  return file !== undefined && hurtLedgers.has(file);
}

/** Pages with blocks of a segment, rising; none of another file. */
export function journalPages(disk: SimDisk, path: string): number[] {
  return isSegment(path) ? disk.syncedPageNumbers(path).filter(isBlockPage) : [];
}

/** Lets the next write of the kind that is meant go wrong, unless the books forbid it. */
export function armMishap(disk: SimDisk, action: MishapAction, hooks: MishapHooks): void {
  const isMeant = action.isOfJournal ? isSegment : isLedger;
  disk.arm((path, file, before) => {
    if (!isMeant(path)) return false;
    const pages = before.filter(
      (page) => (isLedger(path) || isBlockPage(page.number)) && isChanged(page, file),
    );
    if (pages.length === 0) return false;
    const harm = drawHarm({ path, file, before }, pages, action);
    if (harm === undefined || !mayHarm(path, file, { harm, hooks })) return true;
    for (const page of harm) file.replaceOnMedium(page);
    hooks.happened();
    return true;
  });
}

/** Pages as they will be on the medium. */
function drawHarm(
  synced: { readonly path: string; readonly file: SimFile; readonly before: readonly MediumPage[] },
  pages: readonly MediumPage[],
  action: MishapAction,
): readonly MediumPage[] | undefined {
  const { path, file, before } = synced;
  const at = Math.floor(action.pageFraction * pages.length);
  const first = present(pages[at], 'the fraction lies below 1');
  if (action.kind === 'lostWrite') return isLedger(path) ? [first] : pages.slice(at);
  const written = file.syncedPageNumbers();
  const behind = Math.min(
    (written.at(-1) ?? 0) + pagesBehindMax,
    Math.ceil(file.syncedSizeBytes / pageBytes) - 1,
  );
  const targets: number[] = [];
  for (let number = 0; number <= behind; number++) {
    if (isSegment(path) && !isBlockPage(number)) continue;
    if (!before.some((page) => page.number === number)) targets.push(number);
  }
  const number = targets[Math.floor(action.toFraction * targets.length)];
  return number === undefined
    ? undefined
    : [first, { number, bytes: file.syncedPage(first.number) }];
}

function mayHarm(
  path: string,
  file: SimFile,
  { harm, hooks }: { readonly harm: readonly MediumPage[]; readonly hooks: MishapHooks },
): boolean {
  if (isLedger(path) && !hurtLedgers.has(file)) {
    hurtLedgers.add(file);
    return true;
  }
  return hooks.mayDamage(harm.map(({ number }) => ({ path, position: number * pageBytes })));
}

function isChanged({ number, bytes }: MediumPage, file: SimFile): boolean {
  const now = file.syncedPage(number);
  return bytes.some((value, at) => value !== now[at]);
}

function isSegment(path: string): boolean {
  return segmentSeqOfFileName(path.slice(path.lastIndexOf('/') + 1)) !== undefined;
}

function isLedger(path: string): boolean {
  return path.endsWith(`/${ledgerName}`);
}

function isBlockPage(number: number): boolean {
  return number * pageBytes >= blockOffset(0);
}
