/** What the storage of a node tells it, handed on to the replica that it is about. */
import type { Observer } from '../ports/observer.ts';
import type { LogStoreListener } from '../storage/log-store-types.ts';
import type { PartitionLog } from '../storage/partition-log.ts';
import type { HostedPartition } from './hosted-partition.ts';
import type { LeadershipWatch } from './leadership-watch.ts';
import { damageFoundEvent } from './node-events.ts';
import type { TurnScheduler } from './turn.ts';

/** What the events need of their node. */
export interface StoreEventTargets {
  readonly observer: Observer;
  readonly turn: TurnScheduler;
  readonly watch: LeadershipWatch;
  /** The partition whose present replica has this log. */
  readonly hostedOf: (log: PartitionLog) => HostedPartition | undefined;
  /** Runs something that stops the node when it throws. */
  readonly guarded: (run: () => void) => void;
  readonly fail: (error: unknown) => void;
}

/** Makes the listener of a node's storage. */
export function storeEvents(targets: StoreEventTargets): LogStoreListener {
  const { observer, turn, watch, hostedOf, guarded, fail } = targets;
  return {
    hardStateDurable: (log, hardState) => {
      guarded(() => hostedOf(log)?.replica.hardStateDurable(hardState));
    },
    appendDurable: (log, completion) => {
      // `flushEnded` follows, and ends the turn.
      turn.begin();
      guarded(() => hostedOf(log)?.replica.appendDurable(completion));
    },
    groupFsyncOverrun: (log) => {
      hostedOf(log)?.durability.overrun();
    },
    damaged: (log, range) => {
      guarded(() => hostedOf(log)?.quarantine.damaged(range));
    },
    damageFound: (damage) => {
      observer.emit(damageFoundEvent(damage));
    },
    flushEnded: (tookMs) => {
      watch.flushed(tookMs);
      turn.completed();
    },
    failed: fail,
  };
}
