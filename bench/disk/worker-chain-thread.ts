/** The thread behind `worker-chain.ts`, whose essay describes both sides. */
import { fdatasyncSync, writeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { alignedSharedMemory, openForWriting } from './preallocated-file.ts';
import {
  controlWord,
  ledgerWriteBytesMax,
  ringSlotCount,
  slotWordCount,
  type WorkerChainStart,
} from './worker-chain.ts';

interface OpenLane {
  readonly journal: number;
  readonly ledger: number;
  journalAt: number;
  ledgerAt: number;
}

const { options, control, memory } = workerData as WorkerChainStart;
const words = new Int32Array(control);
const data = Buffer.from(memory);
const ledgerData = Buffer.from(alignedSharedMemory(ledgerWriteBytesMax)).fill(0x5a);
const lanes: readonly OpenLane[] = options.lanes.map(({ journalPath, ledgerPath }) =>
  options.mode === 'none'
    ? { journal: -1, ledger: -1, journalAt: 0, ledgerAt: 0 }
    : {
        journal: openForWriting(journalPath, options.mode),
        ledger: openForWriting(ledgerPath, options.mode),
        journalAt: 0,
        ledgerAt: 0,
      },
);

function makeDurable(lane: OpenLane, slot: number): void {
  const offset = words[slot + 1] ?? 0;
  const journalWriteBytes = words[slot + 2] ?? 0;
  const ledgerWriteBytes = words[slot + 3] ?? 0;
  if (lane.journalAt + journalWriteBytes > options.journalBytes) lane.journalAt = 0;
  if (lane.ledgerAt + ledgerWriteBytes > options.ledgerBytes) lane.ledgerAt = 0;
  writeSync(lane.journal, data, offset, journalWriteBytes, lane.journalAt);
  if (options.mode === 'buffered') fdatasyncSync(lane.journal);
  writeSync(lane.ledger, ledgerData, 0, ledgerWriteBytes, lane.ledgerAt);
  if (options.mode === 'buffered') fdatasyncSync(lane.ledger);
  lane.journalAt += journalWriteBytes;
  lane.ledgerAt += ledgerWriteBytes;
}

function serve(): never {
  for (let answered = 0; ;) {
    Atomics.wait(words, controlWord.requested, answered);
    while (answered < Atomics.load(words, controlWord.requested)) {
      const slot = controlWord.slots + (answered % ringSlotCount) * slotWordCount;
      const lane = lanes[words[slot] ?? 0];
      if (lane !== undefined && options.mode !== 'none') makeDurable(lane, slot);
      Atomics.store(words, controlWord.answered, ++answered);
      if (options.answer === 'port') parentPort?.postMessage(0);
      else Atomics.notify(words, controlWord.answered);
    }
  }
}

parentPort?.postMessage('open');
serve();
