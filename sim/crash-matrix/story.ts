/**
 * The story that is interrupted everywhere: a directory is made, filled, its ledger begins new generations, its journal new
 * segments, entries are replaced, the store is closed and opened again. Then snapshots are taken, logs begin behind them, segments
 * go, and snapshots of others take the place of a log and of the beginning of one.
 */
import { removeOldSnapshots, writeSnapshot } from './snapshots.ts';
import type { StoreLife } from './store-life.ts';
import { storyPartitions } from './store-life.ts';

/** A chapter; each begins on what the ones before left. */
export interface Chapter {
  readonly name: string;
  /** Told of such directories only: filling a segment is the same in both, and a rotation enters one without filling any. */
  readonly only?: 'plain' | 'encrypted';
  /** It only makes what a later chapter begins on. */
  readonly isPreparation?: boolean;
  readonly work: (life: StoreLife) => Promise<void>;
}

const [first, second] = storyPartitions as [
  (typeof storyPartitions)[0],
  (typeof storyPartitions)[0],
];

async function flushed(life: StoreLife): Promise<void> {
  life.store.flush();
  await life.pass(40);
}

/** A segment in which the first partition has much and the second little, or one of little. */
function furtherSegment(count: number, bytes: number): Chapter {
  return {
    name: 'a further segment',
    isPreparation: true,
    work: async (life) => {
      for (const id of [first, second]) life.commit(id);
      life.append(first, count, bytes);
      life.append(second, 1, 20);
      await flushed(life);
      for (const id of [first, second]) life.commit(id);
      life.append(first, 1, 20);
      await flushed(life);
      life.commit(first);
    },
  };
}

/** The chapters, in order. Every one is a life of its own: the store is opened before it, and closed behind the last. */
export const chapters: readonly Chapter[] = [
  { name: 'replicas are created', work: (life) => life.createReplicas() },
  {
    name: 'terms, entries, commits',
    work: async (life) => {
      life.vote(first);
      life.vote(second);
      await flushed(life);
      for (let round = 0; round < 4; round++) {
        life.append(first, 1 + round, 60);
        if (round > 0) life.append(second, 1, 700);
        await flushed(life);
        life.commit(first);
      }
    },
  },
  {
    name: 'entries are replaced in a higher term',
    work: async (life) => {
      life.append(first, 3, 50);
      await flushed(life);
      life.replace(first, 2);
      await flushed(life);
      life.append(second, 2, 2_500);
      life.replace(second, 1);
      await flushed(life);
    },
  },
  {
    name: 'the ledger begins a new generation',
    work: async (life) => {
      for (let round = 0; round < 36; round++) {
        life.append(round % 2 === 0 ? first : second, 1, 40 + 70 * (round % 8));
        await flushed(life);
      }
      life.commit(second);
      await flushed(life);
    },
  },
  {
    name: 'the journal begins a new segment',
    only: 'plain',
    work: async (life) => {
      for (let round = 0; round < 4; round++) {
        life.append(first, 4, 600_000);
        await flushed(life);
        await life.pass(500);
      }
      life.append(second, 1, 30);
      await flushed(life);
    },
  },
  {
    name: 'keys are changed, and old segments sealed anew',
    only: 'encrypted',
    work: async (life) => {
      await life.settle(life.store.keyDesk.rotate());
      life.append(second, 1, 200);
      await flushed(life);
      await life.pass(10_000);
    },
  },
  {
    name: 'the store is closed',
    work: async (life) => {
      life.append(second, 2, 30);
      await life.settle(life.store.close());
    },
  },
  {
    name: 'and opened again',
    work: async (life) => {
      life.append(first, 1, 30);
      await flushed(life);
    },
  },
  {
    name: 'snapshots are written',
    work: async (life) => {
      // Large segments get their trailers, behind which they can go.
      await life.pass(4_000);
      for (const id of [first, second]) {
        life.commit(id);
        await writeSnapshot(life, id, life.of(id).commitIndex);
      }
    },
  },
  {
    name: 'logs begin behind them, and segments go',
    work: async (life) => {
      for (const id of [first, second]) life.commit(id);
      life.append(first, 1, 30);
      for (const id of [first, second]) life.compact(id, life.of(id).snapshots[0] ?? 0);
      await flushed(life);
      await life.pass(200);
    },
  },
  furtherSegment(60, 2_000),
  ...Array.from({ length: 3 }, () => furtherSegment(1, 20)),
  {
    name: 'a further snapshot is written',
    isPreparation: true,
    work: async (life) => {
      life.commit(first);
      await writeSnapshot(life, first, life.of(first).commitIndex);
    },
  },
  {
    name: 'a few entries are copied, so that their segment can go',
    work: async (life) => {
      for (const id of [first, second]) life.commit(id);
      life.compact(first, life.of(first).snapshots[1] ?? 0);
      await flushed(life);
      life.append(second, 1, 40);
      await flushed(life);
      await life.pass(200);
    },
  },
  {
    name: 'a snapshot that nothing rests on goes',
    work: (life) => removeOldSnapshots(life, first),
  },
  {
    name: 'keys are changed under snapshots',
    only: 'encrypted',
    work: async (life) => {
      await life.settle(life.store.keyDesk.rotate());
      await life.pass(10_000);
    },
  },
  {
    name: 'a snapshot takes the place of a log',
    work: async (life) => {
      life.append(second, 3, 50);
      await flushed(life);
      life.vote(second);
      await flushed(life);
      // It ends within the log, with another entry than that has there: the two behind it are dead as well.
      const { entries, term } = life.of(second);
      const index = entries.length - 2;
      await writeSnapshot(life, second, index, term);
      // What is being written when it comes is gone as well.
      life.append(second, 1, 3_000);
      life.store.flush();
      await life.pass(0.2);
      await life.install(second, index, false);
      life.append(second, 2, 60);
      await flushed(life);
      await removeOldSnapshots(life, second);
      await life.pass(200);
    },
  },
  {
    name: 'a snapshot takes the place of the beginning of a log',
    work: async (life) => {
      life.commit(first);
      life.append(first, 3, 50);
      await flushed(life);
      life.replace(first, 2);
      await flushed(life);
      // It ends where the entries begin that were replaced: those dead ones are of its own term.
      const index = life.of(first).entries.length - 2;
      await writeSnapshot(life, first, index);
      life.append(first, 2, 700);
      life.store.flush();
      await life.install(first, index, true);
      await life.pass(40);
      await removeOldSnapshots(life, first);
      await life.pass(200);
    },
  },
  {
    name: 'and opened again behind snapshots',
    work: async (life) => {
      life.append(first, 1, 30);
      life.append(second, 1, 30);
      await flushed(life);
      life.replace(second, 1);
      await flushed(life);
    },
  },
];
