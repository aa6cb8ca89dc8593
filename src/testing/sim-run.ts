/**
 * One simulated run: a storm of faults under load, then everything is healed, and the cluster must come back (safety phase,
 * liveness phase). Everything follows from the seed.
 */
import { messageOf } from '../base/errors.ts';
import { clusterId, nodeId, partitionId, type NodeId, type PartitionId } from '../base/ids.ts';
import { createPrng, forkPrng, nextBelow, nextBetween, type PrngState } from '../base/prng.ts';
import type { ClustorClient } from '../client/client-core.ts';
import { openClientCore } from '../client/client-core.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import { isJoint, lastTerm } from '../raft/index.ts';
import { bothTaps } from './both-taps.ts';
import { rangesAt, type DiskPlace } from './damage-map.ts';
import { FaultAtlas, wholeLog } from './fault-atlas.ts';
import { rollbackOf } from './disk-swap.ts';
import { loadBlake3 } from '../security/blake3.ts';
import { installFaultPlan } from './fault-install.ts';
import {
  drawFaultPlan,
  emptyFaultCounts,
  type FaultKind,
  type PlannedFault,
} from './fault-plan.ts';
import { JournalChecks } from './journal-check.ts';
import type { MarkCounts } from './marks/mark-names.ts';
import { MarkRecorder } from './marks/mark-recorder.ts';
import { isLateObserver } from './late-observer.ts';
import { registerProduct } from './register-product.ts';
import { SimEncryption } from './sim-encryption.ts';
import { SimCluster, SimViolation, type MachineParts, type TimelineEvent } from './sim-cluster.ts';
import { SimOperator } from './sim-operator.ts';
import type { SimLoad, SimProduct } from './sim-product.ts';
import { drawLimits, drawSettings, simStorage } from './sim-run-settings.ts';
import type { SimTap } from './sim-tap.ts';
import type { SimVersion } from './sim-versions.ts';
import { SimWorld } from './sim-world.ts';

/** Options of {@link runSimulation}. */
export interface SimRunOptions {
  readonly seed: number;
  /** Resolves when no microtask is left, for instance through `setImmediate`. */
  readonly drainMicrotasks: () => Promise<void>;
  /** Keeps only the first so many faults of the plan: for finding the shortest prefix that fails. */
  readonly faultsMax?: number;
  /** Keeps only the faults of the plan at these positions: for finding the fewest that fail. */
  readonly faultsKept?: readonly number[];
  /** Kinds of fault to draw from. @defaultValue {@link defaultFaultKinds} */
  readonly faultKinds?: readonly FaultKind[];
  /** Makes what the nodes replicate. @defaultValue registers and counters, judged for linearizability */
  readonly createProduct?: SimProductFactory;
  readonly onEvent?: (event: TimelineEvent) => void;
  /** Watches the run and changes nothing: the trace hash is the same. */
  readonly tap?: SimTap;
}

/** Makes the product of one run. */
export type SimProductFactory = (parts: {
  readonly tap: SimTap | undefined;
  /** Gets violations that nobody could catch where they are found; ends the run. */
  readonly violated: (message: string) => void;
  readonly random: PrngState;
}) => SimProduct;

/** What a run did and found; plain data. */
export interface SimRunReport {
  readonly seed: number;
  /** What was violated, if anything was. */
  readonly violation: string | undefined;
  readonly simulatedMs: number;
  readonly events: number;
  readonly operations: number;
  readonly acknowledged: number;
  readonly evidenceChecks: number;
  /** Times that a whole journal was read and compared with its ledger. */
  readonly journalChecks: number;
  readonly leaderChanges: number;
  /** Leaders that let go of their own accord (specification ELE-8). */
  readonly leadersGivenUp: number;
  readonly membershipChanges: number;
  readonly crashes: number;
  /** Changes of the keys of a node that were acknowledged; 0 in runs without encryption. */
  readonly keyRotations: number;
  /** Blocks and keys that were sealed, each with a nonce of its own. */
  readonly sealed: number;
  readonly faults: Readonly<Record<FaultKind, number>>;
  readonly plannedFaults: number;
  /** How often branches that runs seldom take were taken. */
  readonly marks: MarkCounts;
  /** How often nodes said that something of theirs was damaged. */
  readonly verdicts: Readonly<Record<string, number>>;
  readonly nodes: number;
  readonly partitions: number;
  readonly traceHash: string;
}

const cluster = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');
/** The storm lasts so long, in simulated time. */
const stormMs = 22_000;
const workers = 8;
/** Nodes without replicas that every third run begins with, for members to come. */
const sparesOfSome = 2;
const recoveryMs = 20_000;
/** Operations of a run at least; storms that let few through go on in fair weather. */
const operationsMin = 320;

/** Runs one seed. */
export async function runSimulation(options: SimRunOptions): Promise<SimRunReport> {
  await loadBlake3();
  const run = new SimulationRun(options);
  let violation: string | undefined;
  try {
    await run.run();
  } catch (error) {
    violation =
      error instanceof SimViolation
        ? error.message
        : `at ${run.world.nowMs.toFixed(3)} ms: ${error instanceof Error ? (error.stack ?? '') : messageOf(error)}`;
  }
  run.ended();
  return run.report(violation);
}

class SimulationRun {
  readonly world: SimWorld;
  readonly #options: SimRunOptions;
  readonly #cluster: SimCluster;
  readonly #plan: readonly PlannedFault[];
  readonly #partitionIds: readonly PartitionId[];
  readonly #product: SimProduct;
  /** Of every other run. */
  readonly #encryption: SimEncryption | undefined;
  readonly #clients: ClustorClient[] = [];
  readonly #marks = new MarkRecorder((machine) => this.world.disk(nodeId(machine)));
  readonly #tap: SimTap;
  readonly #atlas = new FaultAtlas({
    configurations: (id) => this.#cluster.configurationsToCome(id),
    doubtTakes: 'entries',
    isCommitted: (id, position) => this.#cluster.isCommitted(id, position),
  });
  readonly #journals: JournalChecks;
  readonly #versions = new Map<NodeId, SimVersion>();
  readonly #verdicts: Record<string, number> = {};
  #load: SimLoad | undefined;
  #faults: Record<FaultKind, number> | undefined;
  #crashes = 0;
  /** From here on machines that go down are started at once. */
  #isHealed = false;

  constructor(options: SimRunOptions) {
    this.#options = options;
    const tap = bothTaps(options.tap ?? {}, this.#marks);
    this.#tap = tap;
    const sizes = [3, 3, 3, 3, 3, 3, 5, 5, 1];
    const nodes = sizes[options.seed % sizes.length] ?? 3;
    const spares = options.seed % 3 === 1 ? sparesOfSome : 0;
    const nodeIds = Array.from({ length: nodes + spares }, (_, at) => nodeId(at + 1));
    this.world = new SimWorld({
      seed: options.seed,
      clusterId: cluster,
      nodeIds,
      wallSkewMsMax: 500,
      // In every fourth run disks are written through the page cache, which remembers what a failed sync has lost.
      ioWriterMode: options.seed % 4 === 3 ? 'Pooled' : 'Direct',
      tap,
    });
    this.#product = (options.createProduct ?? registerProduct)({
      tap,
      violated: (message) => {
        this.#violatedLater(message);
      },
      random: forkPrng(createPrng(options.seed), 'product'),
    });
    const partitions = this.#product.partitionsMax === 1 ? 1 : 1 + (options.seed % 3);
    this.#partitionIds = Array.from({ length: partitions }, (_, at) =>
      partitionId(`018c0d6c-9c11-7e9d-8000-00000000000${at + 1}`),
    );
    this.#encryption =
      options.seed % 2 === 0
        ? new SimEncryption((message) => {
            this.#violatedLater(message);
          })
        : undefined;
    this.#cluster = new SimCluster({
      world: this.world,
      clusterId: cluster,
      partitionIds: this.#partitionIds,
      voterIds: nodeIds.slice(0, nodes),
      storage: simStorage,
      raft: drawSettings(forkPrng(this.world.random, 'windows')),
      limits: drawLimits(forkPrng(this.world.random, 'limits')),
      encryption: this.#encryption,
      createStateMachine: (parts) => this.#createStateMachine(parts),
      onEvent: (event) => {
        this.#marks.event(event);
        this.#noteVerdict(event);
        options.onEvent?.(event);
      },
      tap,
      atlas: this.#atlas,
      versions: this.#versions,
    });
    this.#journals = new JournalChecks(this.#cluster, {
      clusterId: cluster,
      atlas: this.#atlas,
      encryption: this.#encryption,
      drainMicrotasks: options.drainMicrotasks,
    });
    const plan = drawFaultPlan({
      random: forkPrng(this.world.random, 'plan'),
      nodeIds,
      fromMs: 2_500,
      untilMs: 2_500 + stormMs,
      ...(options.faultKinds === undefined ? {} : { kinds: options.faultKinds }),
    });
    const kept = options.faultsKept === undefined ? undefined : new Set(options.faultsKept);
    this.#plan = plan.filter(
      (_, at) => at < (options.faultsMax ?? plan.length) && kept?.has(at) !== false,
    );
  }

  async run(): Promise<void> {
    await this.#settle(this.#cluster.initialize());
    for (const id of this.world.nodeIds) this.#cluster.start(id);
    await this.#openClients();
    await this.#storm();
    await this.#recovery();
  }

  /** Tells those who watch that it is over. */
  ended(): void {
    this.#tap.ended(this.world.nowMs);
  }

  report(violation: string | undefined): SimRunReport {
    const { seed } = this.#options;
    return {
      seed,
      violation,
      simulatedMs: Math.round(this.world.nowMs),
      events: this.world.scheduler.eventCount,
      operations: this.#load?.operations ?? 0,
      acknowledged: this.#load?.acknowledged ?? 0,
      evidenceChecks: this.#cluster.evidenceChecks,
      journalChecks: this.#journals.count,
      leaderChanges: this.#cluster.leaderChanges,
      leadersGivenUp: this.#cluster.leadersGivenUp,
      membershipChanges: this.#cluster.membershipChanges,
      crashes: this.#crashes,
      keyRotations: this.#encryption?.rotations ?? 0,
      sealed: this.#encryption?.watch.sealed ?? 0,
      faults: { ...(this.#faults ?? emptyFaultCounts()) },
      plannedFaults: this.#plan.length,
      marks: this.#marks.counts,
      verdicts: { ...this.#verdicts },
      nodes: this.world.nodeIds.length,
      partitions: this.#partitionIds.length,
      traceHash: this.world.traceHash(),
    };
  }

  #createStateMachine({ host, partitionId, onApplied }: MachineParts): StateMachine {
    return this.#product.createStateMachine({
      host,
      partitionId,
      onApplied: (index, entry) => {
        this.#marks.applied(host.nodeId, partitionId, index);
        onApplied(index, entry);
      },
    });
  }

  #noteVerdict({ event }: TimelineEvent): void {
    const isVerdict = ['replicaInDoubt', 'peerInDoubt', 'refusedDamage'].includes(event.kind);
    if (!isVerdict) return;
    const { code } = event.fields;
    const name = typeof code === 'string' ? `${event.kind} ${code}` : event.kind;
    this.#verdicts[name] = (this.#verdicts[name] ?? 0) + 1;
  }

  #mayDamage(id: NodeId, places: readonly DiskPlace[] | undefined): boolean {
    const ranges =
      places === undefined
        ? this.#partitionIds.map(wholeLog)
        : places.flatMap((place) => rangesAt(this.world.disk(id), place, this.#partitionIds));
    return this.#atlas.claim(id, ranges, (partitionId) => {
      const replica = this.#cluster
        .node(id)
        ?.replicas()
        .find((row) => row.partitionId === partitionId);
      if (replica === undefined) return undefined;
      const { log } = replica.state;
      return { index: log.lastIndex, term: lastTerm(log) };
    });
  }

  #rollback(id: NodeId): (() => boolean) | undefined {
    const mayGoBack = rollbackOf(this.#cluster, id);
    if (mayGoBack === undefined) return undefined;
    return () => !this.#isHealed && mayGoBack() && this.#mayDamage(id, undefined);
  }

  async #openClients(): Promise<void> {
    for (let at = 0; at < 3; at++) {
      const { transport, clock, entropy } = this.world.client(`client-${at}`);
      const addresses = this.world.nodeIds.map((id) => this.world.address(id));
      this.#clients.push(
        await this.#settle(
          openClientCore({
            transport,
            clock,
            entropy,
            observer: {
              emit: (event) => {
                this.#options.onEvent?.({ atMs: this.world.nowMs, nodeId: undefined, event });
              },
            },
            clusterId: cluster,
            addresses,
            limits: { openDeadlineMs: 30_000 },
          }),
        ),
      );
    }
  }

  async #storm(): Promise<void> {
    const operator = new SimOperator({
      cluster: this.#cluster,
      violated: (message) => {
        this.#violatedLater(message);
      },
    });
    this.#faults = installFaultPlan(this.world, this.#plan, {
      // Behind damage that nobody has noticed another configuration could count on the damaged copy.
      operate: (kind, draw) =>
        (kind !== 'memberChange' || this.#atlas.isEmpty) && operator.operate(kind, draw),
      mayDamage: (id, places) => this.#mayDamage(id, places),
      rollback: (id) => this.#rollback(id),
      install: (id, version) => this.#versions.set(id, version),
      leader: () => this.#cluster.leader(),
      crashed: (id) => {
        this.#crashes++;
        this.#cluster.crashed(id);
      },
      restart: (id) => {
        if (this.world.isDown(id)) this.#cluster.start(id);
      },
      happened: (action) => {
        this.#tap.fault(action, this.world.nowMs);
      },
    });
    const load = this.#product.createLoad({
      cluster: this.#cluster,
      clients: this.#clients,
      random: forkPrng(this.world.random, 'workload'),
      violated: (message) => {
        throw new SimViolation(message, this.world.nowMs);
      },
    });
    this.#load = load;
    this.#encryption?.changeKeys({
      world: this.world,
      cluster: this.#cluster,
      isOver: () => this.#isHealed,
      violated: (message) => {
        this.#violatedLater(message);
      },
    });
    for (let worker = 0; worker < workers; worker++) load.startWorker(worker);
    await this.#advance(
      stormMs + 2_500 - this.world.nowMs + nextBetween(this.world.random, 0, 500),
    );
  }

  /** Everything is healed, at some seeds after the power went everywhere at once; then all must work again, and agree. */
  async #recovery(): Promise<void> {
    const { world } = this;
    if (nextBelow(world.random, 2) === 0) {
      for (const id of world.nodeIds) {
        if (!world.crash(id, 'powerLoss')) continue;
        this.#crashes++;
        this.#cluster.crashed(id);
      }
    }
    world.heal();
    this.#tap.healed(world.nowMs);
    this.#isHealed = true;
    const deadlineMs = world.nowMs + recoveryMs;
    await this.#until(
      deadlineMs,
      'clients get on with their work',
      () => (this.#load?.operations ?? 0) >= operationsMin,
    );
    this.#load?.stop();
    await this.#until(deadlineMs, 'every operation ends', () => this.#load?.running === 0);
    await this.#until(deadlineMs, 'no disk refuses writes any more', () =>
      world.nodeIds.every((id) => {
        const node = this.#cluster.node(id);
        // One whose own files are damaged may refuse to start for good.
        return node === undefined
          ? this.#atlas.isNodeDamaged(id)
          : node.status().disk.pressure === 'none';
      }),
    );
    for (const id of this.#partitionIds) await this.#mustWork(id, deadlineMs);
    await this.#until(deadlineMs, 'all replicas agree', () =>
      this.#partitionIds.every((id) => this.#agree(id)),
    );
    await this.#journals.all();
    const found = await this.#settle(this.#product.judge(this.#cluster));
    if (found !== undefined) throw new SimViolation(found, world.nowMs);
  }

  async #mustWork(id: PartitionId, deadlineMs: number): Promise<void> {
    const [client] = this.#clients;
    if (client === undefined) return;
    const found = await this.#settle(
      this.#product.mustWork(client, id, () => Math.max(1, deadlineMs - this.world.nowMs)),
    );
    if (found !== undefined) throw new SimViolation(found, this.world.nowMs);
  }

  #agree(id: PartitionId): boolean {
    const active = this.#cluster.committedConfiguration(id);
    if (active === undefined || isJoint(active)) return false;
    const highest = this.#cluster.highestCommitted(id);
    return active.members.every((member) => {
      const { nodeId: node } = member;
      if (this.#cluster.isOut(node, id) || isLateObserver(this.#cluster, member, id)) return true;
      const partition = this.#cluster.node(node)?.partition(id);
      return partition !== undefined && partition.appliedIndex >= highest;
    });
  }

  /** Throws out of the next event: where it was found, somebody would catch it. */
  #violatedLater(message: string): void {
    this.world.after(0, () => {
      throw new SimViolation(message, this.world.nowMs);
    });
  }

  async #until(deadlineMs: number, what: string, isTrue: () => boolean): Promise<void> {
    while (!isTrue()) {
      if (this.world.nowMs >= deadlineMs)
        throw new SimViolation(
          `not within ${recoveryMs / 1000} s after everything was healed: ${what}`,
          this.world.nowMs,
        );
      await this.#advance(100);
    }
  }

  /** After the storm nothing stays down. */
  #startWhatIsDown(): void {
    if (!this.#isHealed) return;
    for (const id of this.world.nodeIds) if (this.world.isDown(id)) this.#cluster.start(id);
  }

  async #advance(forMs: number): Promise<void> {
    this.#startWhatIsDown();
    await this.world.run({
      untilMs: this.world.nowMs + Math.max(0, forMs),
      drainMicrotasks: this.#drain,
      afterEvent: (owner) => {
        this.#cluster.check(owner?.number);
      },
    });
  }

  readonly #drain = async (): Promise<void> => {
    await this.#options.drainMicrotasks();
    this.#product.drained();
    await this.#journals.run();
  };

  /** Runs until a promise settles. */
  async #settle<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const note = (): void => {
      isSettled = true;
    };
    promise.then(note, note);
    const deadlineMs = this.world.nowMs + 60_000;
    while (!isSettled) {
      if (this.world.nowMs >= deadlineMs)
        throw new SimViolation('something is still open after a minute', this.world.nowMs);
      this.#startWhatIsDown();
      await this.world.run({
        untilMs: this.world.nowMs + 100,
        drainMicrotasks: this.#drain,
        afterEvent: (owner) => {
          this.#cluster.check(owner?.number);
        },
        isDone: () => isSettled,
      });
    }
    return promise;
  }
}
