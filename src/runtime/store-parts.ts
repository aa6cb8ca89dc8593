/** What a node hands on to its storage. */
import type { LogStoreOptions } from '../storage/log-store-types.ts';
import { nodeLimits } from './limits.ts';
import { leavesOf, type NodeParts } from './node-parts.ts';

/** The store's options, without who is told of what became durable. */
export function storeParts(parts: NodeParts): Omit<LogStoreOptions, 'listener'> {
  const { directory, clusterId, nodeId, fileSystem, clock, entropy, observer, encryption } = parts;
  return {
    directory,
    clusterId,
    nodeId,
    fileSystem,
    clock,
    entropy,
    observer,
    encryption,
    leafHashes: leavesOf(parts).leafHashes,
    limits: parts.storage ?? {},
    deviceLatencyMsMax: nodeLimits(parts.limits).deviceLatencyMsMax,
    ...(parts.diskReport === undefined ? {} : { diskReport: parts.diskReport }),
  };
}
