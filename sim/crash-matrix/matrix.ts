/** Runs the story and recovers every state that a crash at any of its steps may leave. */
import type { PartitionId } from '../../src/base/ids.ts';
import { createPrng } from '../../src/base/prng.ts';
import { SimDisk } from '../../src/testing/sim-disk.ts';
import { judgeState, type Finding } from './judge.ts';
import { survivingSets } from './states.ts';
import { copyOfPromised, StoreLife, type Promised } from './store-life.ts';
import { chapters } from './story.ts';

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
  /** Only each so-manieth moment. */
  readonly stride: number;
  readonly progress?: (done: number, of: number, chapter: string) => void;
}

/** Runs all chapters. */
export async function runCrashMatrix(options: MatrixOptions): Promise<ChapterResult[]> {
  const results: ChapterResult[] = [];
  let disk = new SimDisk();
  const promised = new Map<PartitionId, Promised>();
  for (const [at, chapter] of chapters.entries()) {
    const moments = await recorded(disk, promised, at);
    results.push(await judged(chapter.name, moments, options));
    disk = moments.at(-1)?.disk ?? disk;
    // What is not synced by now is lost to the next life, as a kill leaves it: nothing.
    disk = disk.fork();
  }
  return results;
}

/** Lives through a chapter; the disk as it was behind each change. */
async function recorded(
  disk: SimDisk,
  promised: Map<PartitionId, Promised>,
  at: number,
): Promise<Moment[]> {
  const chapter = chapters[at];
  if (chapter === undefined) throw new Error('a chapter of the story');
  const moments: Moment[] = [];
  let seen = disk.effectCount;
  const life = new StoreLife(disk, {
    seed: at + 1,
    promised,
    afterEvent: () => {
      if (disk.effectCount === seen) return;
      seen = disk.effectCount;
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
    const sets = survivingSets(parts, random);
    if (sets.length === 2 ** parts) exhausted++;
    // A killed process leaves everything as it was, unsynced bytes too.
    const states = [moment.disk.fork(), ...sets.map((kept) => afterPowerLoss(moment.disk, kept))];
    for (const [which, state] of states.entries()) {
      const fingerprint = `${which === 0 ? 'kill' : 'power'} ${promisesOf(moment)} ${state.syncedFingerprint()}`;
      if (seen.has(fingerprint)) continue;
      seen.add(fingerprint);
      const finding = await judgeState(state, moment.promised);
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
  return [...promised.values()].map((row) => `${row.durableTerm}.${row.durableIndex}`).join(',');
}
