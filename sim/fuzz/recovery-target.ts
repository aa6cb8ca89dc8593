/**
 * Starts on damaged data directories.
 *
 * An input is a list of damages, eight bytes each, to a copy of a small directory: bits, bytes and blocks changed, a file cut,
 * dropped, or in the place of another. The start must answer: with a documented refusal, or with a store of which every entry
 * it gives is one that was written at that index. What the ledger covers and the journal lacks is a doubt, said aloud
 * (specification §5.3). An empty list must come back whole.
 */
import { ClustorError } from '../../src/base/errors.ts';
import type { ErrorCode } from '../../src/base/error-codes.ts';
import { logIndex } from '../../src/base/ids.ts';
import { createPrng, nextBelow, pick, type PrngState } from '../../src/base/prng.ts';
import type { JournalKeys } from '../../src/storage/journal-keys.ts';
import type { LogStore } from '../../src/storage/log-store.ts';
import type { RecoveredPartition } from '../../src/storage/log-store-types.ts';
import { replayLedgerBytes, type LedgerReplay } from '../../src/storage/ledger-replay.ts';
import { pageBytes, type SimFile } from '../../src/testing/sim-disk-file.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
import { randomBytes } from './random-message.ts';
import {
  entriesOf,
  recoveryOwner,
  StoreLife,
  writeDirectory,
  type WrittenDirectory,
  type WrittenLog,
} from './recovery-world.ts';
import { accepted, demand, demandEqual, type FuzzTarget, type Verdict } from './target.ts';

const ledgerPath = '/data/wal/durability.log';
const damageBytes = 8;
const damagesMax = 6;
const readBytesMax = 64 * 1024;
/** What a start may refuse with. */
const openCodes: readonly ErrorCode[] = [
  'CLUSTOR_INTEGRITY',
  'CLUSTOR_FORMAT_UNSUPPORTED',
  'CLUSTOR_REPLICA_FILES_MISSING',
  'CLUSTOR_WRONG_DATA_DIRECTORY',
  // Of encrypted ones, whose keys are damaged or lie elsewhere.
  'CLUSTOR_KEY_MISSING',
  'CLUSTOR_KEY_WRONG',
  'CLUSTOR_KEY_EPOCH_REPLAY',
  'CLUSTOR_KEY_EPOCH_MISMATCH',
];
const directories: readonly WrittenDirectory[] = [
  await writeDirectory(1, false),
  await writeDirectory(2, false),
  await writeDirectory(3, true),
  await writeDirectory(4, true),
];

/** What an input did to a directory. */
interface Damaged {
  readonly disk: SimDisk;
  /** What the ledger said before. */
  readonly evidenceBefore: LedgerReplay | undefined;
  /** Paths that are not as they were, with the kind of damage. */
  readonly places: readonly { readonly path: string; readonly kind: DamageKind }[];
}

type DamageKind = 'bit' | 'byte' | 'zeros' | 'copy' | 'cut' | 'drop' | 'swap';

const damageKinds: readonly DamageKind[] = [
  ...(['bit', 'byte', 'zeros', 'copy', 'bit', 'byte', 'zeros'] as const),
  ...(['cut', 'drop', 'swap'] as const),
];
/** Damages that leave all other blocks of the file as they were. */
const withinBlock: readonly DamageKind[] = ['bit', 'byte', 'zeros', 'copy'];

/** The target of this file. */
export const recoveryTarget: FuzzTarget = {
  name: 'recovery',
  codes: openCodes,
  inputsPerRound: 1,
  slowMs: 3000,
  heldBytes: 256 * 1024 * 1024,
  // The list is empty or damages what nobody needs: both must be taken.
  sample: (random) =>
    nextBelow(random, 4) === 0 ? new Uint8Array([nextBelow(random, 256)]) : oneBit(random),
  run: runRecovery,
};

/** A bit of an index of a segment, which is rebuilt. */
function oneBit(random: PrngState): Uint8Array {
  const which = nextBelow(random, directories.length);
  const paths = directories[which]?.disk.paths() ?? [];
  const index = pick(
    random,
    paths.filter((path) => path.endsWith('.idx')),
  );
  const [kind, file] = [damageKinds.indexOf('bit'), paths.indexOf(index)];
  return Uint8Array.of(which, kind, file, 0, 0, ...randomBytes(random, 4));
}

async function runRecovery(input: Uint8Array): Promise<Verdict> {
  const directory =
    directories[(input[0] ?? 0) % directories.length] ?? pick(createPrng(1), directories);
  const { keys, isEncrypted } = directory;
  const damaged = damage(directory.disk.fork(), { keys, list: input.subarray(1) });
  const evidence = replayOf(damaged.disk, keys);
  const life = new StoreLife(damaged.disk, createPrng(7), { logs: [], isEncrypted });
  try {
    const store = await life.open();
    let shape = '';
    for (const log of directory.logs) {
      const recovered = store.recovered.find(({ partitionId }) => partitionId === log.id);
      if (recovered === undefined) {
        demand(
          isForgettable(damaged.disk, evidence, log),
          'a replica that was there is not forgotten',
        );
        shape += 'forgotten;';
        continue;
      }
      judge(recovered, { log, damaged, evidence });
      const unread = await readAll(store, life, { log, recovered });
      const { doubt = recovered.quarantine === undefined ? 'whole' : 'quarantine' } = recovered;
      shape += `${doubt.replaceAll(/\d+/g, '#').slice(0, 40)} ${unread ?? ''};`;
    }
    return accepted(shape);
  } finally {
    life.kill();
  }
}

/** Without the registry, and with a ledger that is gone or from before the replica, nothing tells that it was there. */
function isForgettable(
  disk: SimDisk,
  evidence: LedgerReplay | undefined,
  { id }: WrittenLog,
): boolean {
  const term = evidence?.image.partitions.get(id)?.hardState?.term ?? 0;
  return disk.find('/data/node.json') === undefined && term === 0;
}

/** What may be missing, and of what it must be said. */
function judge(
  { doubt, quarantine, lastIndex, hardState }: RecoveredPartition,
  {
    log,
    damaged,
    evidence,
  }: {
    readonly log: WrittenLog;
    readonly damaged: Damaged;
    readonly evidence: LedgerReplay | undefined;
  },
): void {
  if (doubt !== undefined || quarantine !== undefined) return;
  demand(evidence !== undefined && evidence.fault === undefined, 'lost evidence is a doubt');
  const covered = evidence.image.row(log.id).durability?.index ?? 0;
  demand(lastIndex >= covered, 'an entry that the ledger covers is there, or the replica in doubt');
  const inLedger = damaged.places.filter(({ path }) => path === ledgerPath);
  const isOneCopy =
    inLedger.every(({ kind }) => withinBlock.includes(kind)) && inLedger.length <= 1;
  // Each flush is there twice: no damage to one block loses or changes any of it.
  if (!isOneCopy) return;
  demandEqual(
    evidence.image.records(),
    damaged.evidenceBefore?.image.records(),
    'a ledger with one block damaged says what it said before',
  );
  demand(hardState.term <= log.term, 'no term comes back that was never written');
  demand(lastIndex >= log.durableIndex, 'what was reported durable is there, or in doubt');
  demand(hardState.term >= log.term, 'a term that was reported durable is there, or in doubt');
}

/** Reads what the store says it has: each entry is one that was written there, or a read is refused. */
async function readAll(
  store: LogStore,
  life: StoreLife,
  { log, recovered }: { readonly log: WrittenLog; readonly recovered: RecoveredPartition },
): Promise<ErrorCode | undefined> {
  const { lastIndex, baseIndex } = recovered;
  demand(lastIndex <= Math.max(0, ...log.written.keys()), 'a log has no more than was written');
  const place = store.partition(log.id);
  demand(place !== undefined, 'a replica that was recovered can be read');
  let unread: ErrorCode | undefined;
  for (let next = baseIndex + 1; next <= lastIndex;) {
    try {
      const batch = await life.settle(place.read(logIndex(next), lastIndex, readBytesMax));
      const entries = entriesOf(batch.bytes);
      demand(entries.length > 0, 'a read gives an entry at least');
      for (const { index, text } of entries) {
        demand(index === next, 'entries come in order');
        demand(
          log.written.get(index)?.has(text) === true,
          'an entry is one that was written there',
        );
        next++;
      }
    } catch (error) {
      if (!(error instanceof ClustorError) || error.code !== 'CLUSTOR_INTEGRITY') throw error;
      unread = error.code;
      next++;
    }
  }
  return unread;
}

function replayOf(disk: SimDisk, keys: JournalKeys): LedgerReplay | undefined {
  const file = disk.find(ledgerPath);
  if (file === undefined) return undefined;
  try {
    const bytes = file.read(0, file.sizeBytes, 'cache');
    return replayLedgerBytes(bytes, { ...recoveryOwner, keys });
  } catch (error) {
    // The start meets the same, and is held to the codes that it may refuse with.
    if (error instanceof ClustorError) return undefined;
    throw error;
  }
}

function damage(
  disk: SimDisk,
  { keys, list }: { readonly keys: JournalKeys; readonly list: Uint8Array },
): Damaged {
  const evidenceBefore = replayOf(disk, keys);
  const paths = disk.paths();
  const places: Damaged['places'][number][] = [];
  for (
    let at = 0;
    at + damageBytes <= list.length && places.length < damagesMax;
    at += damageBytes
  ) {
    const [kind = 0, file = 0, page = 0, high = 0, low = 0, value = 0, other = 0, block = 0] =
      list.subarray(at, at + damageBytes);
    const path = paths[file % paths.length];
    const name = damageKinds[kind % damageKinds.length];
    if (path === undefined || name === undefined) continue;
    const from = paths[other % paths.length] ?? path;
    const found = disk.find(path);
    if (found === undefined) continue;
    // Most of a segment or ledger was never written: places are among the pages that were.
    const pages = found.syncedPageNumbers();
    const start = (pages[page % Math.max(1, pages.length)] ?? 0) * pageBytes;
    const position =
      start + (((high << 8) | low) % Math.max(1, Math.min(pageBytes, found.sizeBytes - start)));
    harm(disk, { name, path, from, position, value, block });
    places.push({ path, kind: name });
    if (name === 'swap') places.push({ path: from, kind: name });
  }
  return { disk, evidenceBefore, places };
}

interface Harm {
  readonly name: DamageKind;
  readonly path: string;
  readonly from: string;
  readonly position: number;
  readonly value: number;
  readonly block: number;
}

function harm(disk: SimDisk, { name, path, from, position, value, block }: Harm): void {
  const file = disk.find(path);
  if (file === undefined || (position >= file.sizeBytes && name !== 'drop' && name !== 'swap'))
    return;
  const start = position - (position % pageBytes);
  const length = Math.min(pageBytes, file.sizeBytes - start);
  switch (name) {
    case 'bit':
      file.flipBit(position, value & 7);
      return;
    case 'byte':
      put(file, position, Uint8Array.of(value));
      return;
    case 'zeros':
      put(file, start, new Uint8Array(length));
      return;
    case 'copy': {
      const source = disk.find(from);
      const pages = source?.syncedPageNumbers() ?? [];
      const page = pages[block % Math.max(1, pages.length)] ?? 0;
      const bytes = source?.read(page * pageBytes, length, 'cache') ?? new Uint8Array(0);
      if (bytes.length > 0) put(file, start, bytes);
      return;
    }
    case 'cut':
      file.truncate(position);
      file.sync();
      return;
    case 'drop':
      disk.unlink(path);
      break;
    case 'swap': {
      const other = disk.find(from);
      if (other === undefined) return;
      disk.link(path, other);
      disk.link(from, file);
      break;
    }
  }
  for (const changed of [path, from])
    disk.syncDirectory(changed.slice(0, changed.lastIndexOf('/')));
}

/** At rest: on the medium. */
function put(file: SimFile, position: number, bytes: Uint8Array): void {
  file.write(position, bytes);
  file.sync();
}
