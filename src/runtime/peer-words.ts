/** Carrying out a core's `sendMessage`: heartbeats and echoes join their batches, everything else is a frame of its own. */
import type { Effect } from '../raft/index.ts';
import type { PartitionLog } from '../storage/partition-log.ts';
import type { PeerLinks } from './peer-links.ts';
import { wireOf } from './wire-mapping.ts';

/** Hands a message to the link of its recipient's node; without one it is lost. */
export function sendWords(
  { to, message }: Extract<Effect, { kind: 'sendMessage' }>,
  links: PeerLinks,
  log: PartitionLog,
): void {
  const { partitionId } = log;
  const link = links.get(to.nodeId);
  if (link === undefined) return;
  if (message.kind === 'heartbeat') link.heartbeat(partitionId, to, message);
  else if (message.kind === 'heartbeatEcho') link.echo(partitionId, to, message);
  else link.send(wireOf(message, { partitionId, to, storage: log.ackFields() }));
}
