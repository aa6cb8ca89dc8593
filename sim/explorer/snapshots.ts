/**
 * Snapshots in an explored world. What a ledger writes in one flush happens here at once: everything that was asked of the disk
 * before is written then, though the core hears of it later.
 */
import { assert, present } from '../../src/base/assert.ts';
import { logIndex, term, type LogIndex } from '../../src/base/ids.ts';
import {
  compactionFloor,
  configurationAt,
  installationBlock,
  logBehindSnapshot,
  termAt,
  type RaftState,
} from '../../src/raft/index.ts';
import { written, type ExploredDisk, type ExploredPlace, type ExploredSnapshot } from './disk.ts';
import type { Promises } from './promises.ts';
import { give, replaceReplica, type Explored, type ExploredReplica, type World } from './world.ts';

/** Where the log of a replica may begin behind a snapshot of what it has applied: as far as its members need, and no further. */
export function compactionTargets(core: RaftState): readonly LogIndex[] {
  const targets = new Set([compactionFloor(core), core.appliableIndex]);
  return [...targets].filter((target) => target > core.log.baseIndex);
}

/** A replica takes a snapshot of what it has applied, and drops its log up to `target`. */
export function compactLog(world: World, explored: Explored, at: number, target: LogIndex): World {
  const replica = present(world.replicas[at], 'a replica of this world');
  const { core } = replica;
  const disk = flushed(replica);
  const snapshot = placeAt(world.promises, core, { disk, index: core.appliableIndex });
  const base = placeAt(world.promises, core, { disk, index: target });
  const terms = disk.terms.slice(target - disk.base.index);
  const compacted = { ...disk, base, terms, snapshot: { ...snapshot, takenIn: core.term } };
  explored.marks.add('compacted');
  const next = afterFlush(world, at, compacted);
  return give(next, explored, at, { kind: 'compacted', baseIndex: target });
}

/** A snapshot that a replica may install now, from the disk of another one. */
export function installableFrom(
  replica: ExploredReplica,
  source: ExploredReplica,
): ExploredSnapshot | undefined {
  const { snapshot } = source.disk;
  const { core } = replica;
  if (snapshot === undefined || source === replica || core.role === 'leader') return undefined;
  return snapshot.index > core.log.baseIndex ? snapshot : undefined;
}

/** A snapshot takes the place of the beginning of a log, or of all of it. */
export function installSnapshot(
  world: World,
  explored: Explored,
  at: number,
  snapshot: ExploredSnapshot,
): World {
  const seen = give(world, explored, at, { kind: 'termSeen', term: snapshot.takenIn });
  const replica = present(seen.replicas[at], 'a replica of this world');
  const { core } = replica;
  const place = { index: logIndex(snapshot.index), term: term(snapshot.term) };
  assert(installationBlock(core, place) === undefined, 'what was committed conflicts with nothing');
  const log = logBehindSnapshot(core, place);
  const isKept = log.lastIndex > log.baseIndex;
  const disk = flushed(replica);
  const terms = isKept ? disk.terms.slice(snapshot.index - disk.base.index) : [];
  const { index, configuration } = snapshot;
  const base = { index, term: snapshot.term, configuration };
  noteMarks(core, explored, { snapshot, isKept });
  const next = afterFlush(seen, at, { ...disk, base, terms, snapshot });
  return give(next, explored, at, { kind: 'snapshotInstalled', log, configuration });
}

function noteMarks(
  { log, snapshotWanted }: RaftState,
  { marks }: Explored,
  installed: { readonly snapshot: ExploredSnapshot; readonly isKept: boolean },
): void {
  const { snapshot, isKept } = installed;
  marks.add('installed');
  if (snapshotWanted !== undefined) marks.add('wanted');
  if (isKept) marks.add('kept');
  else if (log.lastIndex >= snapshot.index) marks.add('replaced');
}

function flushed({ disk, queue, writtenCount }: ExploredReplica): ExploredDisk {
  return queue.slice(writtenCount).reduce(written, disk);
}

function afterFlush(world: World, at: number, disk: ExploredDisk): World {
  const { core, queue } = present(world.replicas[at], 'a replica of this world');
  return replaceReplica(world, at, { core, disk, queue, writtenCount: queue.length });
}

/** An applied entry of a replica with the configuration in force there, which the core may have forgotten. */
function placeAt(
  promises: Promises,
  core: RaftState,
  { disk, index }: { readonly disk: ExploredDisk; readonly index: LogIndex },
): ExploredPlace {
  const { base, terms } = disk;
  const configuration = present(
    [base.configuration, ...promises.configurationsAt(base.index + 1, terms)].findLast(
      (known) => known.index <= index,
    ),
    'a disk knows its configuration',
  );
  const known = configurationAt(core, index);
  assert(
    known === undefined || known.index === configuration.index,
    'the core knows the configuration in force',
  );
  return { index, term: Number(termAt(core.log, index)), configuration };
}
