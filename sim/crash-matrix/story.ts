/**
 * The story that is interrupted everywhere: a directory is made, filled, its ledger begins new generations, its journal new
 * segments, entries are replaced, the store is closed and opened again.
 */
import type { StoreLife } from './store-life.ts';
import { storyPartitions } from './store-life.ts';

/** A chapter; each begins on what the ones before left. */
export interface Chapter {
  readonly name: string;
  /** Told of such directories only: filling a segment is the same in both, and a rotation enters one without filling any. */
  readonly only?: 'plain' | 'encrypted';
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
];
