/**
 * A simulated cluster of the product for scenarios: real nodes with recovery, storage and links, in virtual time.
 *
 * Every step is watched by {@link SimCluster}, so a scenario states only what is its own. Nothing is drawn but from the
 * seed: a scenario runs the same every time.
 */
import { present } from '../../src/base/assert.ts';
import { utf8Decode, utf8Encode } from '../../src/base/bytes.ts';
import {
  clusterId,
  nodeId,
  partitionId,
  uuidToBytes,
  type NodeId,
  type PartitionId,
} from '../../src/base/ids.ts';
import { blockBytes } from '../../src/codec/segment-format.ts';
import { explain, type WhyKind } from '../../src/admin/why.ts';
import { openClientCore } from '../../src/client/client-core.ts';
import { silentObserver } from '../../src/ports/observer.ts';
import type { StateMachine } from '../../src/ports/state-machine.ts';
import type { RaftSettings } from '../../src/raft/index.ts';
import type { NodeLimits } from '../../src/runtime/limits.ts';
import type { AppendReceipt } from '../../src/runtime/local-append.ts';
import type { ClustorNode } from '../../src/runtime/node.ts';
import type { AppendOptions, Partition } from '../../src/runtime/partition.ts';
import type { IntegrityStatus, QuarantineStatus } from '../../src/runtime/quarantine-desk.ts';
import type { Replica } from '../../src/runtime/replica.ts';
import { loadBlake3 } from '../../src/security/blake3.ts';
import type { LogStoreLimits } from '../../src/storage/log-store-types.ts';
import {
  SimCluster,
  type MachineParts,
  type TimelineEvent,
} from '../../src/testing/sim-cluster.ts';
import { encodeCommand, RegisterMachine } from '../../src/testing/sim-machine.ts';
import type { DiskPlace } from '../../src/testing/damage-map.ts';
import { rollbackOf } from '../../src/testing/disk-swap.ts';
import type { FaultAtlas } from '../../src/testing/fault-atlas.ts';
import type { SimEncryption } from '../../src/testing/sim-encryption.ts';
import { armMishap, type MishapAction } from '../../src/testing/write-mishaps.ts';
import type { SimVersion } from '../../src/testing/sim-versions.ts';
import { SimWorld } from '../../src/testing/sim-world.ts';
import { drainMicrotasks } from '../testing/sim-rounds.ts';

const cluster = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');
const onlyPartition = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');
const smallStorage: Partial<LogStoreLimits> = {
  segmentBytes: 8 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
  logBytesMax: 256 * 1024 * 1024,
};

/** How a promise ended. */
export type Ending<T> =
  | { readonly kind: 'fulfilled'; readonly value: T }
  | { readonly kind: 'rejected'; readonly error: unknown };

/** What a scenario has otherwise than most. */
export interface ScenarioOptions {
  /** Nodes behind the voters that begin without a replica. */
  readonly spares?: number;
  /** Settings of the cores that differ from the defaults. */
  readonly raft?: Partial<RaftSettings>;
  readonly createStateMachine?: (parts: MachineParts) => StateMachine;
  /** Whose disks lose evidence: they may be in doubt. */
  readonly atlas?: FaultAtlas;
  /** Encrypts every journal. */
  readonly encryption?: SimEncryption;
  /** Time between the starts of nodes. */
  readonly startApartMs?: number;
  /** Versions that nodes begin with. */
  readonly versions?: readonly (readonly [NodeId, SimVersion])[];
  /** Partitions besides the first one. */
  readonly further?: readonly PartitionId[];
  readonly storage?: Partial<LogStoreLimits>;
  /** Limits of the nodes that differ from the defaults. */
  readonly limits?: Partial<NodeLimits>;
}

/** See the file comment. */
export class ScenarioCluster {
  readonly world: SimWorld;
  readonly events: TimelineEvent[] = [];
  /** Versions that nodes are started with from now on. */
  readonly versions = new Map<NodeId, SimVersion>();
  readonly #simulated: SimCluster;

  private constructor(seed: number, nodes: number, options: ScenarioOptions) {
    const { spares = 0, atlas, encryption } = options;
    const nodeIds = Array.from({ length: nodes + spares }, (_, at) => nodeId(at + 1));
    this.world = new SimWorld({ seed, clusterId: cluster, nodeIds });
    this.#simulated = new SimCluster({
      world: this.world,
      clusterId: cluster,
      partitionIds: [onlyPartition, ...(options.further ?? [])],
      voterIds: nodeIds.slice(0, nodes),
      storage: { ...smallStorage, ...options.storage },
      raft: options.raft ?? {},
      limits: options.limits ?? {},
      encryption,
      versions: this.versions,
      ...(atlas === undefined ? {} : { atlas }),
      ...(options.createStateMachine === undefined
        ? {}
        : { createStateMachine: options.createStateMachine }),
      onEvent: (event) => {
        this.events.push(event);
      },
    });
  }

  /** A cluster with a leader that has committed its first entry. */
  static async start(
    seed: number,
    nodes = 3,
    options: ScenarioOptions = {},
  ): Promise<ScenarioCluster> {
    await loadBlake3();
    const scenario = new ScenarioCluster(seed, nodes, options);
    for (const [id, version] of options.versions ?? []) scenario.versions.set(id, version);
    await scenario.settle(scenario.#simulated.initialize());
    for (const id of scenario.world.nodeIds) {
      scenario.start(id);
      if (options.startApartMs !== undefined) await scenario.advance(options.startApartMs);
    }
    await scenario.untilLeader();
    return scenario;
  }

  get nodeIds(): readonly NodeId[] {
    return this.world.nodeIds;
  }

  /** Changes of leader so far, the first one included. */
  get leaderChanges(): number {
    return this.#simulated.leaderChanges;
  }

  /** Whether no time passes for any replica of a node. */
  isNodeAsleep(id: NodeId): boolean {
    return this.#simulated.node(id)?.isHibernating === true;
  }

  /** Whether every node, or each of some, has recovered. */
  areAllUp(among: readonly NodeId[] = this.nodeIds): boolean {
    return among.every((id) => this.#simulated.node(id) !== undefined);
  }

  /** Nodes other than `id`. */
  others(id: NodeId): readonly NodeId[] {
    return this.nodeIds.filter((other) => other !== id);
  }

  /** A node that is up and has recovered. */
  node(id: NodeId): ClustorNode {
    return present(this.#simulated.node(id), 'a node that is up');
  }

  /** The replica of a node that is up and has recovered. */
  replica(id: NodeId): Replica {
    return present(this.#simulated.node(id)?.replicas()[0], 'a node that is up hosts a replica');
  }

  /** The partition as a product on that node sees it. */
  partition(id: NodeId, of: PartitionId = onlyPartition): Partition {
    return this.node(id).partition(of);
  }

  /** Value of a register in the machine of a node, without asking anybody. */
  value(id: NodeId, key: string): string | null {
    const machine = this.#simulated.machine(id, onlyPartition);
    return machine instanceof RegisterMachine ? machine.read(key) : null;
  }

  /** What the machine of a node holds, as a short text: equal where they hold the same. */
  digest(id: NodeId): string | undefined {
    const machine = this.#simulated.machine(id, onlyPartition);
    return machine instanceof RegisterMachine ? machine.digest() : undefined;
  }

  /** Clause of an explanation at a node. */
  why(id: NodeId, kind: WhyKind): string {
    const { linksUp, partitions, disk } = this.node(id).status();
    const [partition] = partitions;
    return explain(kind, {
      partition: present(partition, 'a node hosts its partition'),
      state: this.replica(id).state,
      linksUp,
      disk,
    }).clause;
  }

  /** The node that leads by its own word in the newest term, if any does. */
  leader(): NodeId | undefined {
    const leading = this.nodeIds
      .map((id) => ({ id, replica: this.#simulated.node(id)?.replicas()[0] }))
      .filter(({ replica }) => replica?.isLeader === true);
    return leading.toSorted(
      (left, right) => (right.replica?.state.term ?? 0) - (left.replica?.state.term ?? 0),
    )[0]?.id;
  }

  /** Waits for a leader with a committed entry of its own term. */
  async untilLeader(among: readonly NodeId[] = this.nodeIds): Promise<NodeId> {
    const isReady = (): boolean => {
      const id = this.leader();
      if (id === undefined || !among.includes(id)) return false;
      const { state } = this.replica(id);
      return state.leader !== undefined && state.commitIndex >= state.leader.termStartIndex;
    };
    await this.until('a leader commits an entry of its term', isReady, 20_000);
    return present(this.leader(), 'a leader was found');
  }

  /** What a node said when it gave leadership up of its own accord. */
  givenUp(id: NodeId): readonly TimelineEvent['event']['fields'][] {
    return this.#eventsOf(id, 'leadershipGivenUp');
  }

  /** Why the role of a node changed, each time. */
  roleReasons(id: NodeId): readonly unknown[] {
    return this.#eventsOf(id, 'roleChanged').map((fields) => fields['reason']);
  }

  /** Makes every durable chain of a node take some 500 ms. */
  slowDown(id: NodeId): void {
    this.world.disk(id).latencyFactor = 500;
  }

  /** Writes through a node for so long, one after the other. */
  async load(id: NodeId, forMs: number, pauseMs = 50): Promise<void> {
    const untilMs = this.world.nowMs + forMs;
    for (let at = 0; this.world.nowMs < untilMs; at++) {
      await this.settle(this.write(id, 'load', `${at}`));
      await this.advance(pauseMs);
    }
  }

  #eventsOf(id: NodeId, kind: string): readonly TimelineEvent['event']['fields'][] {
    return this.events
      .filter(({ nodeId: node, event }) => node === id && event.kind === kind)
      .map(({ event }) => event.fields);
  }

  /** Begins a life of a node. */
  start(id: NodeId): void {
    this.#simulated.start(id);
  }

  /** Takes the power of a node. */
  crash(id: NodeId, kind: 'powerLoss' | 'processKill' = 'powerLoss'): void {
    this.world.crash(id, kind);
    this.#simulated.crashed(id);
  }

  /** Flips a bit of an entry on a node's disk, wherever the entry was written; returns how many copies it met. */
  rot(id: NodeId, index: number): number {
    const disk = this.world.disk(id);
    let copies = 0;
    for (const path of disk.paths().filter((one) => /\/wal\/segment-\d+\.log$/.test(one)))
      for (const position of framePositions(present(disk.syncedBytes(path), 'a file'), index)) {
        disk.flipBit(path, position, 2);
        copies++;
      }
    if (copies > 0) this.#simulated.damaged(id);
    return copies;
  }

  /** Whether a node may go back to a copy of its disk that is taken now, asked at any later moment. */
  rollback(id: NodeId): (() => boolean) | undefined {
    return rollbackOf(this.#simulated, id);
  }

  /** Lets the next write of a node's journal or ledger go wrong unnoticed; returns what it hit, filled when it does. */
  spoilWrite(id: NodeId, action: MishapAction): readonly DiskPlace[] {
    const hit: DiskPlace[] = [];
    armMishap(this.world.disk(id), action, {
      mayDamage: (places) => {
        hit.push(...places);
        this.#simulated.damaged(id);
        return true;
      },
      happened: () => undefined,
    });
    return hit;
  }

  /** Entries of a kind of event at a node. */
  eventsOf(id: NodeId, kind: string): readonly TimelineEvent[] {
    return this.events.filter(({ nodeId: node, event }) => node === id && event.kind === kind);
  }

  /** How the `Integrity` quarantine of a node stands. */
  quarantine(id: NodeId): IntegrityStatus | undefined {
    return this.quarantines(id).find((row) => row.reason === 'Integrity');
  }

  /** How the quarantines of a node stand, the gravest first. */
  quarantines(id: NodeId): readonly QuarantineStatus[] {
    return this.#simulated.node(id)?.partition(onlyPartition).status().quarantines ?? [];
  }

  /** Cuts or mends what `from` says to `to`. */
  link(from: NodeId, to: NodeId, isWhole: boolean): void {
    const [left, right] = [this.world.machineNumber(from), this.world.machineNumber(to)];
    if (isWhole) this.world.network.mend(left, right);
    else this.world.network.cut(left, right);
  }

  /** Cuts a node off in both directions. */
  isolate(id: NodeId): void {
    this.#links(id, false);
  }

  /** Mends every link of a node. */
  rejoin(id: NodeId): void {
    this.#links(id, true);
  }

  #links(id: NodeId, isWhole: boolean): void {
    for (const other of this.others(id)) {
      this.link(id, other, isWhole);
      this.link(other, id, isWhole);
    }
  }

  /** Sets a register through a node, wherever the leader is. */
  write(id: NodeId, key: string, value: string, options?: AppendOptions): Promise<AppendReceipt> {
    return this.partition(id).append(encodeCommand({ op: 'write', key, value }), options);
  }

  /** A linearizable read of a register at a node. */
  read(id: NodeId, key: string, deadlineMs = 10_000): Promise<string | null> {
    const read = (machine: unknown): string | null =>
      machine instanceof RegisterMachine ? machine.read(key) : null;
    return this.partition(id).read(read, { deadlineMs });
  }

  /** A remote client, which finds leaders by itself. */
  async connect(): Promise<{ read(key: string): Promise<string | null> }> {
    const { transport, clock, entropy } = this.world.client('scenario');
    const client = await this.settle(
      openClientCore({
        transport,
        clock,
        entropy,
        observer: silentObserver,
        clusterId: cluster,
        addresses: this.nodeIds.map((id) => this.world.address(id)),
        limits: { openDeadlineMs: 30_000 },
      }),
    );
    return {
      read: async (key) => {
        const { result } = await client.read(onlyPartition, utf8Encode(key));
        return JSON.parse(utf8Decode(result)) as string | null;
      },
    };
  }

  /** Appends bytes that no machine of this cluster can read. */
  poison(id: NodeId): Promise<AppendReceipt> {
    return this.partition(id).append(utf8Encode('{'));
  }

  /** Lets virtual time pass. */
  async advance(forMs: number): Promise<void> {
    await this.world.run({
      untilMs: this.world.nowMs + forMs,
      drainMicrotasks,
      afterEvent: (owner) => {
        this.#simulated.check(owner?.number);
      },
    });
  }

  /** Lets time pass until something holds. */
  async until(what: string, holds: () => boolean, msMax = 10_000): Promise<void> {
    const deadlineMs = this.world.nowMs + msMax;
    while (!holds()) {
      if (this.world.nowMs >= deadlineMs) throw new Error(`not within ${msMax} ms: ${what}`);
      await this.advance(10);
    }
  }

  /** Lets time pass up to the very event behind which something holds; whether it does within that time. */
  async untilEvent(holds: () => boolean, msMax = 10_000): Promise<boolean> {
    return this.world.run({
      untilMs: this.world.nowMs + msMax,
      drainMicrotasks,
      afterEvent: (owner) => {
        this.#simulated.check(owner?.number);
      },
      isDone: holds,
    });
  }

  /** Lets time pass until a promise ends; hands on what it resolves or rejects with. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const note = (): void => {
      isSettled = true;
    };
    promise.then(note, note);
    await this.until('a promise settles', () => isSettled, 60_000);
    return promise;
  }

  /** Like {@link ScenarioCluster.settle}; a rejection is a value. */
  async ending<T>(promise: Promise<T>): Promise<Ending<T>> {
    try {
      return { kind: 'fulfilled', value: await this.settle(promise) };
    } catch (error) {
      return { kind: 'rejected', error };
    }
  }
}

/** Where frames of an entry name their index within the bytes of a segment. */
function framePositions(bytes: Uint8Array, index: number): number[] {
  const wanted = new Uint8Array(16);
  uuidToBytes(onlyPartition, wanted, 0);
  const found: number[] = [];
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = blockBytes; ; at++) {
    at = text.indexOf(wanted, at);
    if (at < 0 || at + 32 > bytes.length) return found;
    if (Number(text.readBigUInt64LE(at + 24)) === index) found.push(at + 24);
  }
}
