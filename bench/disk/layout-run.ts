/**
 * The closed loop behind `journal-layout.ts`: slots that each keep one append outstanding, partitions drawn at
 * random, and for every pair of files a group commit that sends whatever arrived during its last sync.
 */
import { performance } from 'node:perf_hooks';
import { Histogram } from '../load/histogram.ts';
import { blockBytes } from './preallocated-file.ts';
import type { WorkerChain } from './worker-chain.ts';

const frameBytes = 24 + 256;
const blockPlainBytes = 4072;
const ledgerHeaderBytes = 64;
const ledgerRecordBytes = 43;

/** The closed loop over one layout. */
export class LayoutRun {
  readonly #commits: readonly GroupCommit[];
  readonly #partitionCount: number;
  readonly #sentAtMs: Float64Array = new Float64Array(4096);
  #histogram: Histogram | undefined;
  #flushCount = 0;
  #isStopping = false;
  #outstandingCount = 0;
  #random = 0x2545f491;

  constructor(chains: readonly WorkerChain[], laneCount: number, partitionCount: number) {
    this.#partitionCount = partitionCount;
    this.#commits = Array.from({ length: laneCount }, (_, lane) => {
      const chain = chains[lane % chains.length];
      if (chain === undefined) throw new RangeError('a layout needs a thread');
      return new GroupCommit(chain, lane, this.#onDurable);
    });
  }

  start(slotCount: number): void {
    this.#sendAll(Array.from({ length: slotCount }, (_, slot) => slot));
  }

  record(): () => { histogram: Histogram; flushCount: number; seconds: number } {
    const histogram = new Histogram();
    this.#histogram = histogram;
    this.#flushCount = 0;
    const begin = performance.now();
    return () => {
      this.#histogram = undefined;
      const seconds = (performance.now() - begin) / 1000;
      return { histogram, flushCount: this.#flushCount, seconds };
    };
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    while (this.#outstandingCount > 0) await wait(2);
  }

  readonly #onDurable = (slots: readonly number[]): void => {
    const nowMs = performance.now();
    for (const slot of slots) this.#histogram?.record((nowMs - (this.#sentAtMs[slot] ?? 0)) * 1000);
    this.#outstandingCount -= slots.length;
    this.#flushCount++;
    if (!this.#isStopping) this.#sendAll(slots);
  };

  #sendAll(slots: readonly number[]): void {
    const nowMs = performance.now();
    const touched = new Set<GroupCommit>();
    for (const slot of slots) {
      const partition = this.#draw();
      const commit = this.#commits[partition % this.#commits.length];
      if (commit === undefined) continue;
      this.#sentAtMs[slot] = nowMs;
      this.#outstandingCount++;
      commit.append(slot, partition);
      touched.add(commit);
    }
    for (const commit of touched) commit.kick();
  }

  /** Draws a partition by xorshift: the same sequence in every run. */
  #draw(): number {
    this.#random ^= this.#random << 13;
    this.#random ^= this.#random >>> 17;
    this.#random ^= this.#random << 5;
    return (this.#random >>> 0) % this.#partitionCount;
  }
}

/** A pair of files with its group commit. */
class GroupCommit {
  readonly #chain: WorkerChain;
  readonly #lane: number;
  readonly #onDurable: (slots: readonly number[]) => void;
  #waitingSlots: number[] = [];
  readonly #touchedPartitions = new Set<number>();
  #isWriting = false;

  constructor(chain: WorkerChain, lane: number, onDurable: (slots: readonly number[]) => void) {
    this.#chain = chain;
    this.#lane = lane;
    this.#onDurable = onDurable;
  }

  append(slot: number, partition: number): void {
    this.#waitingSlots.push(slot);
    this.#touchedPartitions.add(partition);
  }

  kick(): void {
    if (this.#isWriting || this.#waitingSlots.length === 0) return;
    this.#isWriting = true;
    const slots = this.#waitingSlots;
    const recordBytes = ledgerHeaderBytes + this.#touchedPartitions.size * ledgerRecordBytes;
    this.#waitingSlots = [];
    this.#touchedPartitions.clear();
    const request = {
      lane: this.#lane,
      offset: 0,
      journalBytes: Math.ceil((slots.length * frameBytes) / blockPlainBytes) * blockBytes,
      ledgerBytes: 2 * Math.ceil(recordBytes / blockBytes) * blockBytes,
    };
    this.#chain.run(request, () => {
      this.#isWriting = false;
      this.#onDurable(slots);
      this.kick();
    });
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
