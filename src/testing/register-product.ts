/** The product of Clustor's own runs: registers and counters, every operation recorded and judged for linearizability. */
import { utf8Encode } from '../base/bytes.ts';
import type { PartitionId } from '../base/ids.ts';
import type { ClustorClient } from '../client/client-core.ts';
import { HistoryRecorder } from './history-recorder.ts';
import { judgeHistoryFile } from './history-judge.ts';
import { isLateObserver } from './late-observer.ts';
import type { MachineParts, SimCluster } from './sim-cluster.ts';
import { encodeCommand, RegisterMachine } from './sim-machine.ts';
import type { SimLoad, SimLoadParts, SimProduct } from './sim-product.ts';
import type { SimTap } from './sim-tap.ts';
import { SimWorkload } from './sim-workload.ts';

/** See the file comment. */
export function registerProduct({ tap }: { readonly tap: SimTap | undefined }): SimProduct {
  return new RegisterProduct(tap);
}

class RegisterProduct implements SimProduct {
  readonly partitionsMax = 3;
  readonly #recorder: HistoryRecorder;

  constructor(tap: SimTap | undefined) {
    this.#recorder = new HistoryRecorder(
      tap === undefined ? {} : { onEvent: (event) => tap.operation(event) },
    );
  }

  createStateMachine({ onApplied }: MachineParts): RegisterMachine {
    return new RegisterMachine(onApplied);
  }

  drained(): void {
    // Registers wait for nothing.
  }

  createLoad(parts: SimLoadParts): SimLoad {
    return new SimWorkload({ ...parts, recorder: this.#recorder });
  }

  async mustWork(
    client: ClustorClient,
    partitionId: PartitionId,
    remainingMs: () => number,
  ): Promise<string | undefined> {
    const command = encodeCommand({ op: 'write', key: 'last', value: 'written' });
    await client.append(partitionId, command, { deadlineMs: remainingMs() });
    const { result } = await client.read(partitionId, utf8Encode('last'), {
      deadlineMs: remainingMs(),
    });
    return String.fromCharCode(...result) === '"written"'
      ? undefined
      : 'a read misses the write before it';
  }

  async judge(cluster: SimCluster): Promise<string | undefined> {
    for (const { partitionId } of cluster.plans) {
      const members = cluster.committedConfiguration(partitionId)?.members ?? [];
      const digests = new Set(
        members.flatMap((member) => {
          const { nodeId } = member;
          if (cluster.isOut(nodeId, partitionId)) return [];
          if (isLateObserver(cluster, member, partitionId)) return [];
          const machine = cluster.machine(nodeId, partitionId);
          return [machine instanceof RegisterMachine ? machine.digest() : 'none'];
        }),
      );
      if (digests.size > 1)
        return `replicas applied everything and differ: ${[...digests].join(', ')}`;
    }
    this.#recorder.finish(Math.round(cluster.world.nowMs * 1_000_000));
    const verdict = judgeHistoryFile(this.#recorder.format());
    return verdict.verdict === 'linearizable'
      ? undefined
      : `the history is not linearizable: ${verdict.text}`;
  }
}
