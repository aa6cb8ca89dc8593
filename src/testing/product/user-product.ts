/** A user's state machine and workload as the product of a simulated run. */
import type { PartitionId } from '../../base/ids.ts';
import { isLateObserver } from '../late-observer.ts';
import { forkPrng, type PrngState } from '../../base/prng.ts';
import type { ClustorClient } from '../../client/client-core.ts';
import type { StateMachine } from '../../ports/state-machine.ts';
import type { MachineParts, SimCluster } from '../sim-cluster.ts';
import type { SimLoad, SimLoadParts, SimProduct } from '../sim-product.ts';
import type { SimProductFactory } from '../sim-run.ts';
import type { SimTap } from '../sim-tap.ts';
import { EntryRecord } from './entry-record.ts';
import { describeBytes, describeReturned, describeThrown, type Finding } from './findings.ts';
import { judgeProduct } from './product-judge.ts';
import { ProductLoad } from './product-load.ts';
import { Surroundings } from './surroundings.ts';
import { WatchedMachine } from './watched-machine.ts';
import type { Workload } from './workload.ts';

/** What a user brings. */
export interface UserProductOptions {
  readonly createStateMachine: () => StateMachine;
  readonly workload: Workload;
  /** Gets the first finding of the run. */
  readonly onFinding: (finding: Finding) => void;
}

const machineMethods = ['apply', 'query', 'snapshot', 'restore'] as const;
/** Machines that apply a log once more have a clock of their own, far from every node's. */
const judgeWallMs = 1_893_456_000_000;

/** Makes the product of each run. */
export function userProduct(options: UserProductOptions): SimProductFactory {
  return ({ tap, violated, random }) => new UserProduct({ ...options, tap, violated, random });
}

interface RunOptions extends UserProductOptions {
  readonly tap: SimTap | undefined;
  readonly violated: (message: string) => void;
  readonly random: PrngState;
}

class UserProduct implements SimProduct {
  readonly partitionsMax = 1;
  readonly #options: RunOptions;
  #record: EntryRecord | undefined;
  #load: ProductLoad | undefined;
  readonly #reads = new Set<string>();
  readonly #applying = new Set<WatchedMachine>();
  #isFound = false;

  constructor(options: RunOptions) {
    this.#options = options;
  }

  createStateMachine(parts: MachineParts): StateMachine {
    const { host, partitionId, onApplied } = parts;
    const { random } = this.#options;
    const name = `node ${host.nodeId} (life ${host.generation})`;
    const surroundings = new Surroundings({
      wallMs: () => host.clock.wallMs(),
      monotonicMs: () => host.clock.monotonicMs(),
      random: forkPrng(random, name),
      reads: this.#reads,
    });
    return new WatchedMachine({
      inner: this.#create(surroundings),
      name,
      record: this.#recordOf(partitionId),
      surroundings,
      random: forkPrng(random, `snapshots of ${name}`),
      onApplied,
      applying: this.#applying,
      describe: this.#describe,
      found: (kind, message) => {
        this.#options.violated(this.#found({ kind, message }));
      },
      after: (delayMs, act) => {
        host.clock.setTimer(delayMs, act);
      },
    });
  }

  drained(): void {
    for (const machine of this.#applying) machine.drained();
  }

  createLoad(parts: SimLoadParts): SimLoad {
    const [plan] = parts.cluster.plans;
    if (plan === undefined) throw new Error('a simulated product has one partition');
    const { workload, tap } = this.#options;
    this.#load = new ProductLoad({
      ...parts,
      workload,
      record: this.#recordOf(plan.partitionId),
      describe: this.#describe,
      tap,
      workloadFailed: (message) => this.#failed({ kind: 'workloadFailed', message }),
    });
    return this.#load;
  }

  async mustWork(
    client: ClustorClient,
    _partitionId: PartitionId,
    remainingMs: () => number,
  ): Promise<string | undefined> {
    await this.#load?.mustWork(client, remainingMs);
    return undefined;
  }

  async judge(cluster: SimCluster): Promise<string | undefined> {
    const record = this.#record;
    const load = this.#load;
    if (record === undefined || load === undefined) return undefined;
    const members = cluster.committedConfiguration(record.partitionId)?.members ?? [];
    const { workload, random } = this.#options;
    const finding = await judgeProduct({
      createMachine: (surroundings) => this.#create(surroundings),
      workload,
      record,
      appends: load.appends,
      reads: load.reads,
      replicas: members.flatMap((member) => {
        const { nodeId } = member;
        const isLeftBehind =
          cluster.isOut(nodeId, record.partitionId) ||
          isLateObserver(cluster, member, record.partitionId);
        const machine = cluster.machine(nodeId, record.partitionId);
        return machine === undefined || isLeftBehind ? [] : [{ name: `node ${nodeId}`, machine }];
      }),
      surroundings: new Surroundings({
        wallMs: () => judgeWallMs,
        monotonicMs: () => 0,
        random: forkPrng(random, 'judge'),
        reads: this.#reads,
      }),
      random: forkPrng(random, 'sample'),
      describe: this.#describe,
    });
    return finding === undefined ? undefined : this.#found(finding);
  }

  readonly #describe = (bytes: Uint8Array | undefined): string => {
    const { workload, violated } = this.#options;
    if (bytes === undefined || workload.describe === undefined) return describeBytes(bytes);
    let message: string;
    try {
      const told: unknown = workload.describe(bytes);
      if (typeof told === 'string') return told;
      message = `describe returned ${describeReturned(told)}, no text`;
    } catch (error) {
      message = `describe threw: ${describeThrown(error)}`;
    }
    violated(this.#found({ kind: 'workloadFailed', message }));
    return describeBytes(bytes);
  };

  /** A machine of the user's, looked at before anybody calls it. */
  #create(surroundings: Surroundings): StateMachine {
    let machine: unknown;
    try {
      machine = surroundings.run(this.#options.createStateMachine);
    } catch (error) {
      const message = `createStateMachine threw: ${describeThrown(error)}`;
      return this.#failed({ kind: 'createFailed', message });
    }
    const missing = machineMethods.filter(
      (name) => typeof (machine as Partial<StateMachine> | undefined)?.[name] !== 'function',
    );
    if (missing.length === 0) return machine as StateMachine;
    return this.#failed({
      kind: 'createFailed',
      message: `createStateMachine returned ${describeReturned(machine)} without ${missing.join(', ')}`,
    });
  }

  /** Ends the run, wherever what is thrown here is caught. */
  #failed(finding: Finding): never {
    const message = this.#found(finding);
    this.#options.violated(message);
    throw new Error(message);
  }

  #recordOf(partitionId: PartitionId): EntryRecord {
    this.#record ??= new EntryRecord(partitionId);
    return this.#record;
  }

  #found(finding: Finding): string {
    if (!this.#isFound) this.#options.onFinding(finding);
    this.#isFound = true;
    return `${finding.kind}: ${finding.message}`;
  }
}
