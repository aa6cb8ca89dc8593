/** Clusters of node processes that a test may harm one by one, gone when the test has finished. */
import { onTestFinished } from 'vitest';

import { ChaosCluster, type ChaosClusterOptions } from '../../../sim/chaos-cluster.ts';
import type { ConnectedClient } from '../../../src/client/index.ts';
import { scratchDirectory } from './up-process.ts';

/** Makes a cluster; starts nothing yet. */
export async function scratchCluster(
  options: Omit<ChaosClusterOptions, 'directory' | 'isLinked'> & { readonly isLinked?: boolean },
): Promise<ChaosCluster> {
  const directory = scratchDirectory('nodes');
  const cluster = await ChaosCluster.create({ directory, isLinked: false, ...options });
  onTestFinished(() => cluster.close());
  return cluster;
}

/** Connects; closed when the test has finished. */
export async function clientOf(cluster: ChaosCluster): Promise<ConnectedClient> {
  const client = await cluster.connect();
  onTestFinished(() => client.close());
  return client;
}
