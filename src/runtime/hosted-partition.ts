/** A replica with everything that serves it on its node. */
import type { LogIndex } from '../base/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Entropy } from '../ports/entropy.ts';
import { LocalAppender } from './local-append.ts';
import { LocalReader } from './local-read.ts';
import { MembershipDesk } from './membership-desk.ts';
import { Partition } from './partition.ts';
import { QuarantineDesk } from './quarantine-desk.ts';
import type { PeerLinks } from './peer-links.ts';
import type { ReplicaOptions } from './replica-options.ts';
import { Replica } from './replica.ts';

/** See the file comment. */
export interface HostedPartition {
  readonly replica: Replica;
  readonly partition: Partition;
  readonly appender: LocalAppender;
  readonly reader: LocalReader;
  readonly membership: MembershipDesk;
  readonly quarantine: QuarantineDesk;
}

/** What hosting needs besides the replica's own options. */
export interface HostingOptions extends ReplicaOptions {
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly links: PeerLinks;
}

/** Makes a replica and what serves it; nothing runs before `replica.begin()`. */
export function hostPartition(options: HostingOptions): HostedPartition {
  const { clock, entropy, links, turn, limits } = options;
  const replica = new Replica(options);
  const appender = new LocalAppender({ replica, links, turn, clock });
  const reader = new LocalReader({ replica, links, turn, readsMax: limits.readsMax });
  const membership = new MembershipDesk({ replica, links, clock, entropy });
  const { recovered, observer } = options;
  const quarantine = new QuarantineDesk({ replica, recovered, links, clock, observer, turn });
  const feed = {
    source: {
      slice: (firstIndex: LogIndex, lastIndex: LogIndex) =>
        replica.tail.slice(firstIndex, lastIndex),
      read: (firstIndex: LogIndex, lastIndex: LogIndex) =>
        replica.log.read(firstIndex, lastIndex, limits.batchBytesMax),
    },
    baseIndex: () => replica.state.log.baseIndex,
    appliedIndex: () => replica.apply.appliedIndex,
    whenApplied: replica.reads.whenApplied.bind(replica.reads),
  };
  const clientId = entropy.bytes(16);
  const partition = new Partition({
    replica,
    appender,
    reader,
    membership,
    quarantine,
    clock,
    clientId,
    feed,
  });
  return { replica, partition, appender, reader, membership, quarantine };
}

/** Ends everything of a hosted partition: who waits is answered. */
export function closeHosted(hosted: HostedPartition): void {
  const { replica, appender, reader, membership, quarantine } = hosted;
  quarantine.close();
  appender.close();
  reader.close();
  membership.close();
  replica.close();
}
