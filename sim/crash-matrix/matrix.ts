/** Runs the story and recovers every state that a crash at any of its steps may leave. */
import type { PartitionId } from '../../src/base/ids.ts';
import { createPrng } from '../../src/base/prng.ts';
import { SimDisk } from '../../src/testing/sim-disk.ts';
import { judgeState, type Finding } from './judge.ts';
import { survivingSets } from './states.ts';
import { copyOfPromised, StoreLife, type Promised } from './store-life.ts';
import { chapters, type Chapter } from './story.ts';

/** A moment at which the disk had just changed. */
interface Moment {
  readonly chapter: string;
  readonly disk: SimDisk;
  readonly promised: ReadonlyMap<PartitionId, Promised>;
}

/** What one chapter came to. */
export interface ChapterResult {
  readonly chapter: string;
  /** Moments at which the disk changed. */
  readonly moments: number;
  /** Of these, moments of which every subset of unsynced parts was tried. */
  readonly exhausted: number;
  /** States that were recovered, each once. */
  readonly states: number;
  readonly findings: readonly (Finding & { readonly moment: number })[];
}

/** How much of the matrix is run. */
export interface MatrixOptions {
  readonly isEncrypted: boolean;
  /** Unsynced parts up to which every subset of them is tried. */
  readonly subsetPartsMax: number;
  /** Only each so-manieth moment. */
  readonly stride: number;
  /** Only moments of chapters whose names hold it; the others are lived through. */
  readonly chapter?: string;
  readonly progress?: (done: number, of: number, chapter: string) => void;
}

/** Runs all chapters. */
export async function runCrashMatrix(options: MatrixOptions): Promise<ChapterResult[]> {
  const results: ChapterResult[] = [];
  let disk = new SimDisk();
  const promised = new Map<PartitionId, Promised>();
  const kind = options.isEncrypted ? 'encrypted' : 'plain';
  const told = chapters.filter(({ only }) => only === undefined || only === kind);
  for (const [at, chapter] of told.entries()) {
    const moments = await recorded({ disk, promised, chapter, seed: at + 1, options });
    if (chapter.isPreparation !== true && chapter.name.includes(options.chapter ?? ''))
      results.push(await judged(chapter.name, moments, options));
    // The next life finds what a killed process leaves.
    disk = (moments.at(-1)?.disk ?? disk).fork();
  }
  return results;
}

/** Lives through a chapter; the disk as it was behind each change. */
async function recorded(told: {
  readonly disk: SimDisk;
  readonly promised: Map<PartitionId, Promised>;
  readonly chapter: Chapter;
  readonly seed: number;
  readonly options: MatrixOptions;
}): Promise<Moment[]> {
  const { disk, promised, chapter, seed, options } = told;
  const moments: Moment[] = [];
  let seen = disk.effectCount;
  const life = new StoreLife(disk, {
    seed,
    promised,
    isEncrypted: options.isEncrypted,
    afterEvent: () => {
      if (disk.effectCount === seen) return;
      seen = disk.effectCount;
      life.noteBases();
      moments.push({
        chapter: chapter.name,
        disk: disk.fork(),
        promised: new Map([...promised].map(([id, row]) => [id, copyOfPromised(row)])),
      });
    },
  });
  await life.open();
  await chapter.work(life);
  return moments;
}

async function judged(
  chapter: string,
  moments: readonly Moment[],
  options: MatrixOptions,
): Promise<ChapterResult> {
  const random = createPrng(moments.length);
  const seen = new Set<string>();
  const findings: (Finding & { readonly moment: number })[] = [];
  let exhausted = 0;
  let taken = 0;
  for (let at = 0; at < moments.length; at += options.stride) {
    const moment = moments[at];
    if (moment === undefined) break;
    taken++;
    const parts = moment.disk.unsyncedParts().length;
    const sets = survivingSets(parts, options.subsetPartsMax, random);
    if (parts <= options.subsetPartsMax) exhausted++;
    // A killed process leaves everything as it was, unsynced bytes too.
    const states = [moment.disk.fork(), ...sets.map((kept) => afterPowerLoss(moment.disk, kept))];
    for (const [which, state] of states.entries()) {
      const fingerprint = `${which === 0 ? 'kill' : 'power'} ${promisesOf(moment)} ${state.syncedFingerprint()}`;
      if (seen.has(fingerprint)) continue;
      seen.add(fingerprint);
      const finding = await judgeState(state, moment.promised, options.isEncrypted);
      if (finding !== undefined) findings.push({ ...finding, moment: at });
    }
    options.progress?.(at, moments.length, chapter);
  }
  return { chapter, moments: taken, exhausted, states: seen.size, findings };
}

function afterPowerLoss(disk: SimDisk, kept: ReadonlySet<number>): SimDisk {
  const state = disk.fork();
  state.losePowerKeeping(kept);
  return state;
}

function promisesOf({ promised }: Moment): string {
  const textOf = (row: Promised): string =>
    [row.durableTerm, row.durableIndex, row.base, row.durableBase, ...row.snapshots].join('.') +
    (row.before === undefined ? '' : '?');
  return [...promised.values()].map(textOf).join(',');
}
