/**
 * Counts the marks of one simulated run (`mark-names.ts`). It is a tap: it looks on, and the run is the same without it.
 */
import { utf8Decode } from '../../base/bytes.ts';
import type { Incarnation, LogIndex, NodeId, PartitionId } from '../../base/ids.ts';
import { FrameAssembler } from '../../codec/frame-assembler.ts';
import { bodyBytesMax, wireCatalog } from '../../codec/wire-catalog.ts';
import { decodeBody } from '../../codec/wire-messages.ts';
import type { RaftState } from '../../raft/index.ts';
import type { BootReport } from '../../storage/log-store-types.ts';
import type { TimelineEvent } from '../sim-cluster.ts';
import type { SimDisk } from '../sim-disk.ts';
import type { LifeChange, SimTap, TappedConnection, TappedReplica } from '../sim-tap.ts';
import { emptyMarks, type MarkCounts, type MarkName } from './mark-names.ts';
import {
  isUnchanged,
  marksOfChange,
  seenOf,
  unappliedUserEntries,
  type SeenState,
} from './replica-marks.ts';

interface ReplicaRow {
  readonly nodeId: NodeId;
  readonly partitionId: PartitionId;
  readonly incarnation: Incarnation;
  readonly state: RaftState;
  seen: SeenState;
}

/** Why a role changed, where the reason alone is a mark. */
const markOfReason: Readonly<Record<string, MarkName>> = {
  'heard no quorum for an election timeout': 'quorumUnheard',
  'a quorum refused its vote': 'voteLost',
  "the leader's node refuses connections": 'refusedConnectionHint',
  'the leader asked it to take over': 'transferCampaign',
  "the connection to the leader's node was lost during hibernation": 'sleeperLostItsLeader',
};

const markOfEvent: Readonly<Record<string, MarkName>> = {
  transferAborted: 'transferAborted',
  stalled: 'loopStalled',
  peerInDoubt: 'ledgerWentBack',
  quarantined: 'quarantined',
  quarantineCleared: 'repaired',
  ioWriterModeChanged: 'writerModeChanged',
  snapshotTaken: 'snapshotTaken',
  snapshotInstalled: 'snapshotInstalled',
  snapshotMissing: 'snapshotMissing',
  segmentRetired: 'segmentRetired',
};

const markOfMessage: ReadonlyMap<number, MarkName> = new Map(
  wireCatalog.flatMap(({ id, kind }): [number, MarkName][] => {
    if (kind === 'readIndexRequest') return [[id, 'readForwarded']];
    if (kind === 'createReplicaRequest') return [[id, 'replicaCreated']];
    return kind === 'appendRejected' ? [[id, 'conflictNamesTerm']] : [];
  }),
);

/** See the file comment. */
export class MarkRecorder implements Partial<SimTap> {
  readonly #disk: (machine: number) => SimDisk;
  readonly #counts = emptyMarks();
  readonly #streams = new Map<number, FrameAssembler>();
  readonly #replicas = new Map<string, ReplicaRow>();
  readonly #bootRecords = new Map<number, string>();
  /** Names that disks had lost when they were last looked at. */
  readonly #namesLost = new Map<number, number>();
  /** Entries that a machine got and that are not behind its replica's applied index yet. */
  readonly #machineGot = new Map<string, Set<LogIndex>>();

  /** `disk` gives the disk of a machine. */
  constructor(disk: (machine: number) => SimDisk) {
    this.#disk = disk;
  }

  /** Counts so far. */
  get counts(): MarkCounts {
    return { ...this.#counts };
  }

  /** A node logged something. */
  event({ event }: TimelineEvent): void {
    const reason = event.fields['reason'];
    const ofReason =
      event.kind === 'roleChanged' && typeof reason === 'string' ? markOfReason[reason] : undefined;
    this.#count(ofReason ?? markOfEvent[event.kind]);
    if (event.kind === 'durabilityChanged' && event.fields['mode'] === 'GroupFsync')
      this.#count('groupFsyncEntered');
    if (event.kind === 'nodeFailed' && event.fields['code'] === 'CLUSTOR_STORAGE_FAILED')
      this.#count('stoppedByItsDisk');
  }

  /** A machine got an entry. */
  applied(nodeId: NodeId, partitionId: PartitionId, index: LogIndex): void {
    const key = keyOf(nodeId, partitionId);
    const got = this.#machineGot.get(key);
    if (got === undefined) this.#machineGot.set(key, new Set([index]));
    else got.add(index);
  }

  replica(tapped: TappedReplica): void {
    const { nodeId, partitionId, state, appliedIndex } = tapped;
    const key = keyOf(nodeId, partitionId);
    const row = this.#replicas.get(key);
    if (row?.state !== state) {
      const incarnation = state.selfIncarnation;
      this.#replicas.set(key, { nodeId, partitionId, incarnation, state, seen: seenOf(tapped) });
      return;
    }
    if (isUnchanged(row.seen, tapped)) return;
    for (const mark of marksOfChange(row.seen, tapped, this.#others(row))) this.#count(mark);
    const got = this.#machineGot.get(key);
    if (appliedIndex > row.seen.appliedIndex) {
      const repeated = unappliedUserEntries(row.seen, tapped, (index) => got?.has(index) === true);
      this.#counts.duplicateDropped += repeated;
      for (const index of got ?? []) if (index <= appliedIndex) got?.delete(index);
    }
    row.seen = seenOf(tapped);
  }

  lifeChanged(machine: number, change: LifeChange): void {
    if (change === 'started') this.#countNamesLost(machine);
    if (change !== 'powerLoss' && change !== 'processKill') return;
    this.#readBootRecord(machine);
    for (const [key, { nodeId }] of this.#replicas) {
      if (Number(nodeId) !== machine) continue;
      this.#replicas.delete(key);
      this.#machineGot.delete(key);
    }
  }

  connected({ stream }: TappedConnection): void {
    this.#streams.set(stream, new FrameAssembler(bodyBytesMax));
    this.#streams.set(stream + 1, new FrameAssembler(bodyBytesMax));
  }

  sent(stream: number, bytes: Uint8Array): void {
    // What spans sends is kept, and these bytes belong to the receiver.
    this.#streams.get(stream)?.push(bytes.slice(), (body) => {
      const mark = markOfMessage.get(body[0] ?? 0);
      if (mark !== 'conflictNamesTerm') {
        this.#count(mark);
        return;
      }
      const refusal = decodeBody(body, { forwardCompat: true });
      if (refusal.kind !== 'appendRejected' || refusal.conflictTerm === 0) return;
      if (refusal.conflictFirstIndex < refusal.rejectedPrevIndex) this.#count(mark);
    });
  }

  closed(stream: number): void {
    this.#streams.delete(stream);
  }

  ended(): void {
    for (const machine of new Set([...this.#replicas.values()].map((row) => Number(row.nodeId))))
      this.#readBootRecord(machine);
  }

  #others(row: ReplicaRow): RaftState[] {
    return [...this.#replicas.values()]
      .filter((other) => other !== row && other.partitionId === row.partitionId)
      .map(({ state }) => state);
  }

  #countNamesLost(machine: number): void {
    const { namesLost } = this.#disk(machine);
    if (namesLost > (this.#namesLost.get(machine) ?? 0)) this.#count('nameLost');
    this.#namesLost.set(machine, namesLost);
  }

  /** What a life found when it began; each life leaves its record beside its replicas. */
  #readBootRecord(machine: number): void {
    const disk = this.#disk(machine);
    const path = disk.paths().find((name) => name.endsWith('/boot_record.json'));
    const file = path === undefined ? undefined : disk.find(path);
    if (file === undefined) return;
    const record = recordOf(file.read(0, file.sizeBytes, 'cache'));
    // A life that ended before it had written its own finds the one of the life before.
    if (record === undefined || this.#bootRecords.get(machine) === record.text) return;
    this.#bootRecords.set(machine, record.text);
    const { report } = record;
    if (report.ledgerFlushesFromSecondCopy > 0) this.#count('secondCopyRead');
    if (report.framesKeptBehindCoverage > 0) this.#count('framesKeptBehindCoverage');
  }

  #count(mark: MarkName | undefined): void {
    if (mark !== undefined) this.#counts[mark]++;
  }
}

/** A record is for people and nothing depends on it: one that rotted is no record. */
function recordOf(
  bytes: Uint8Array,
): { readonly text: string; readonly report: BootReport } | undefined {
  try {
    const text = utf8Decode(bytes);
    return { text, report: JSON.parse(text) as BootReport };
  } catch {
    return undefined;
  }
}

function keyOf(nodeId: NodeId, partitionId: PartitionId): string {
  return `${nodeId}/${partitionId}`;
}
