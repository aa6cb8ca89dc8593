/**
 * A simulated world: machines with disks and clocks, a network between them, clients, and virtual time for all of it.
 *
 * A machine has one life after the other. {@link SimWorld.start} begins a life and hands out its {@link SimHost}, the ports
 * a node runs on; {@link SimWorld.crash} ends it: no callback of that life is delivered any more, its streams break, its
 * disk keeps what the crash leaves. Everything follows from the seed; parts draw from generators of their own, so that one
 * more draw here does not shift every other.
 */
import { assert, present } from '../base/assert.ts';
import type { ClusterId, NodeId } from '../base/ids.ts';
import { createPrng, forkPrng, nextBetween, type PrngState } from '../base/prng.ts';
import type { IoWriterMode } from '../ports/file-system.ts';
import type { ClientRole, NodeAddress, PeerIdentity } from '../ports/transport.ts';
import { clientSpiffeId, nodeSpiffeId } from '../security/spiffe.ts';
import { SimClock, SimHardwareClock } from './sim-clock.ts';
import { SimDisk } from './sim-disk.ts';
import { SimEntropy } from './sim-entropy.ts';
import { SimFileSystem, type CrashKind } from './sim-file-system.ts';
import { SimNetwork, SimTransport } from './sim-network.ts';
import {
  LifeScope,
  SimScheduler,
  simEventKinds,
  simTask,
  type RunOptions,
} from './sim-scheduler.ts';
import type { LifeChange, WorldTap } from './sim-tap.ts';

/** What a world is made of. */
export interface SimWorldOptions {
  /** Everything follows from it. */
  readonly seed: number;
  readonly clusterId: ClusterId;
  /** The machines; client machines are added by {@link SimWorld.client}. */
  readonly nodeIds: readonly NodeId[];
  /** What the disks report. @defaultValue 'Direct' */
  readonly ioWriterMode?: IoWriterMode;
  /** Wall clocks are off by up to this much. @defaultValue 0 */
  readonly wallSkewMsMax?: number;
  /** Watches; changes nothing. */
  readonly tap?: WorldTap;
}

/** The ports of one life of a client. */
export interface SimClientHost {
  readonly identity: PeerIdentity;
  readonly clock: SimClock;
  readonly entropy: SimEntropy;
  readonly transport: SimTransport;
  /** Whether this life goes on. */
  readonly isAlive: boolean;
  /** Ends this life at once. */
  kill(): void;
}

/** The ports of one life of a node. */
export interface SimHost extends SimClientHost {
  readonly nodeId: NodeId;
  /** Counts the lives of the machine, from 1. */
  readonly generation: number;
  readonly address: NodeAddress;
  readonly fileSystem: SimFileSystem;
}

interface Machine {
  readonly nodeId: NodeId;
  readonly number: number;
  readonly address: NodeAddress;
  readonly hardwareClock: SimHardwareClock;
  readonly random: PrngState;
  disk: SimDisk;
  generation: number;
  /** The current life, if the machine is up. */
  life:
    | { readonly scope: LifeScope; readonly host: SimHost; readonly fileSystem: SimFileSystem }
    | undefined;
}

/** Port every node listens on. */
const simPort = 7_400;

/** Numbers of client machines begin here. */
const firstClientNumber = 1_000;

/** A world. */
export class SimWorld {
  readonly scheduler: SimScheduler = new SimScheduler();
  readonly network: SimNetwork;
  /** For whoever drives the world: workloads, fault plans. */
  readonly random: PrngState;
  readonly #options: SimWorldOptions;
  readonly #machines = new Map<NodeId, Machine>();
  readonly #clientRandom: PrngState;
  #clientCount = 0;

  constructor(options: SimWorldOptions) {
    this.#options = options;
    const root = createPrng(options.seed);
    this.network = new SimNetwork(this.scheduler, forkPrng(root, 'network'), options.tap);
    this.random = forkPrng(root, 'world');
    this.#clientRandom = forkPrng(root, 'clients');
    const skewMsMax = options.wallSkewMsMax ?? 0;
    options.nodeIds.forEach((nodeId, position) => {
      const random = forkPrng(root, `node ${nodeId}`);
      const number = position + 1;
      const address = { host: `node-${nodeId}.sim`, port: simPort };
      const hardwareClock = new SimHardwareClock(
        this.scheduler,
        nextBetween(random, -skewMsMax, skewMsMax),
      );
      this.network.addMachine(number, address);
      this.#machines.set(nodeId, {
        nodeId,
        number,
        address,
        hardwareClock,
        random,
        disk: new SimDisk(),
        generation: 0,
        life: undefined,
      });
    });
  }

  /** The machines of the world. */
  get nodeIds(): readonly NodeId[] {
    return this.#options.nodeIds;
  }

  /** Virtual milliseconds since the world began. */
  get nowMs(): number {
    return this.scheduler.nowMs;
  }

  /** Where a node listens, whether it is up or not. */
  address(nodeId: NodeId): NodeAddress {
    return this.#machine(nodeId).address;
  }

  /** The number of a machine in links and traces. */
  machineNumber(nodeId: NodeId): number {
    return this.#machine(nodeId).number;
  }

  /** The disk of a machine, whether it is up or not. */
  disk(nodeId: NodeId): SimDisk {
    return this.#machine(nodeId).disk;
  }

  /** The clock hardware of a machine, for drift and jumps. */
  hardwareClock(nodeId: NodeId): SimHardwareClock {
    return this.#machine(nodeId).hardwareClock;
  }

  /** The current life's ports; `undefined` while the machine is down. */
  host(nodeId: NodeId): SimHost | undefined {
    return this.#machine(nodeId).life?.host;
  }

  /** Whether a machine is down. */
  isDown(nodeId: NodeId): boolean {
    return this.#machine(nodeId).life === undefined;
  }

  /** Begins the next life of a machine that is down, over its disk as the last life left it. */
  start(nodeId: NodeId): SimHost {
    const machine = this.#machine(nodeId);
    assert(machine.life === undefined, 'a machine has one life at a time');
    machine.generation++;
    const scope = new LifeScope(machine.number);
    const { clusterId, ioWriterMode = 'Direct' } = this.#options;
    const identity: PeerIdentity = {
      kind: 'node',
      clusterId,
      nodeId,
      spiffeId: nodeSpiffeId(clusterId, nodeId),
    };
    const { scheduler } = this;
    const label = `life ${machine.generation}`;
    const fileSystem = new SimFileSystem({
      disk: machine.disk,
      scheduler,
      scope,
      random: forkPrng(machine.random, `disk of ${label}`),
      ioWriterMode,
    });
    const client = this.#clientHost({
      scope,
      identity,
      address: machine.address,
      hardware: machine.hardwareClock,
      random: forkPrng(machine.random, label),
      kill: () => {
        if (scope.isAlive) this.crash(nodeId);
      },
    });
    const { generation, address } = machine;
    const host: SimHost = {
      ...client,
      get isAlive() {
        return scope.isAlive;
      },
      nodeId,
      generation,
      address,
      fileSystem,
    };
    machine.life = { scope, host, fileSystem };
    this.#lifeChanged(machine.number, 'started');
    return host;
  }

  /**
   * Ends the current life of a machine; nothing happens when it is down.
   *
   * @returns Whether it was up.
   */
  crash(nodeId: NodeId, kind: CrashKind = 'powerLoss'): boolean {
    const machine = this.#machine(nodeId);
    const { life } = machine;
    if (life === undefined) return false;
    machine.life = undefined;
    this.#lifeChanged(machine.number, kind);
    life.scope.isAlive = false;
    life.scope.deferred.length = 0;
    life.fileSystem.abandon(kind);
    this.network.abandon(life.scope, kind === 'powerLoss');
    return true;
  }

  /** Swaps the disk of a machine that is down, for instance for an old copy of itself. */
  replaceDisk(nodeId: NodeId, disk: SimDisk): void {
    const machine = this.#machine(nodeId);
    assert(machine.life === undefined, 'the disk of a running machine stays');
    machine.disk = disk;
  }

  /** Stops a process: what comes due for it waits, in order, until it resumes after `forMs`. False when it is down or stopped. */
  pause(nodeId: NodeId, forMs: number): boolean {
    const scope = this.#machine(nodeId).life?.scope;
    if (scope === undefined || scope.isPaused) return false;
    scope.isPaused = true;
    this.#lifeChanged(scope.number, 'paused');
    this.after(forMs, () => this.#resume(scope));
    return true;
  }

  /** A client on a machine of its own, without a disk. */
  client(name: string, role: ClientRole = 'client'): SimClientHost {
    const number = firstClientNumber + this.#clientCount++;
    const { clusterId } = this.#options;
    const scope = new LifeScope(number);
    const random = forkPrng(this.#clientRandom, name);
    return this.#clientHost({
      scope,
      identity: {
        kind: 'client',
        clusterId,
        role,
        name,
        spiffeId: clientSpiffeId(clusterId, role, name),
      },
      address: { host: `client-${name}.sim`, port: 0 },
      hardware: new SimHardwareClock(this.scheduler, 0),
      random,
      kill: () => {
        if (!scope.isAlive) return;
        scope.isAlive = false;
        this.network.abandon(scope, false);
      },
    });
  }

  /** Runs `act` in `delayMs`, as the world: no crash or pause holds it. */
  after(delayMs: number, act: () => void): void {
    this.scheduler.schedule(delayMs, simTask(undefined, simEventKinds.world, act));
  }

  /** Ends every fault: links, disks, clocks' rates, pauses. Machines that are down stay down. */
  heal(): void {
    this.network.heal();
    for (const machine of this.#machines.values()) {
      machine.disk.heal();
      machine.hardwareClock.setRate(1);
      if (machine.life !== undefined) this.#resume(machine.life.scope);
    }
  }

  /** Runs a stretch of virtual time; see {@link SimScheduler.run}. */
  run(options: RunOptions): Promise<boolean> {
    return this.scheduler.run(options);
  }

  /** Equal for equal runs. */
  traceHash(): string {
    return this.scheduler.traceHash();
  }

  #resume(scope: LifeScope): void {
    if (!scope.isAlive || !scope.isPaused) return;
    this.#lifeChanged(scope.number, 'resumed');
    this.scheduler.releaseDeferred(scope);
  }

  #lifeChanged(machine: number, change: LifeChange): void {
    this.#options.tap?.lifeChanged(machine, change, this.scheduler.nowMs);
  }

  #clientHost(parts: {
    readonly scope: LifeScope;
    readonly identity: PeerIdentity;
    readonly address: NodeAddress;
    readonly hardware: SimHardwareClock;
    readonly random: PrngState;
    readonly kill: () => void;
  }): SimClientHost {
    const { scope, identity, address, hardware, random, kill } = parts;
    const { scheduler, network } = this;
    return {
      identity,
      clock: new SimClock({ scheduler, scope, hardware, random: forkPrng(random, 'clock') }),
      entropy: new SimEntropy(forkPrng(random, 'entropy')),
      transport: new SimTransport({ network, scheduler, scope, identity, address }),
      get isAlive() {
        return scope.isAlive;
      },
      kill,
    };
  }

  #machine(nodeId: NodeId): Machine {
    return present(this.#machines.get(nodeId), 'a machine of this world');
  }
}
