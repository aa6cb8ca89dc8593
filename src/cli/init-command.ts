/** `clustor init`: creates the replicas of one node from a plan that all members share (specification §1 Identity). */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { v7 as uuidv7 } from 'uuid';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import { partitionId } from '../base/ids.ts';
import { initializeReplicas, planReplicas, type PartitionPlan } from '../index.ts';
import { partitionsMax } from './cluster-directory.ts';
import { exitCodes } from './exit-codes.ts';
import { keyProviderOf, type KeyOptions } from './key-options.ts';
import { readConfig } from './node-config.ts';
import type { Output } from './output.ts';
import { plansOf, votersOf } from './partition-plans.ts';

/** Options of the command line. */
export interface InitOptions extends KeyOptions {
  readonly config: string;
  readonly plan: string;
  readonly voters?: string;
  readonly partitions: number;
}

/**
 * Creates the replicas. A new plan is on the disk before them, so that no crash leaves replicas without the plan of the other
 * members; it goes again when they surely were not created.
 */
export async function runInit(options: InitOptions, output: Output): Promise<number> {
  const config = await readConfig(options.config);
  const keyProvider = await keyProviderOf(options, {
    encryption: config.encryption,
    path: options.config,
  });
  const { dataDirectory: directory } = config;
  const plans = options.voters === undefined ? await readPlans(options.plan) : newPlans(options);
  if (options.voters !== undefined) await writePlans(options.plan, plans);
  try {
    await initializeReplicas({
      directory,
      encryption: keyProvider === undefined ? 'none' : { keyProvider },
      clusterId: config.clusterId,
      nodeId: config.nodeId,
      partitions: plans,
    });
  } catch (error) {
    // Where nobody knows whether there are replicas now, their plan is needed.
    const isSurelyNot = isClustorError(error) && error.outcome === 'surelyNot';
    if (options.voters !== undefined && isSurelyNot) await rm(options.plan, { force: true });
    throw error;
  }
  const partitionIds = plans.map((plan) => plan.partitionId);
  output.result(
    { event: 'initialized', nodeId: config.nodeId, directory, partitionIds },
    `node ${config.nodeId} hosts ${partitionIds.length} replica(s) in ${directory}`,
  );
  return exitCodes.done;
}

function newPlans({ voters: list = '', partitions }: InitOptions): readonly PartitionPlan[] {
  if (partitions < 1 || partitions > partitionsMax)
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `--partitions takes 1 to ${partitionsMax.toLocaleString('en')}, got ${partitions}`,
    );
  const voters = votersOf(list);
  return Array.from({ length: partitions }, () => planReplicas(partitionId(uuidv7()), voters));
}

async function writePlans(path: string, plans: readonly PartitionPlan[]): Promise<void> {
  try {
    const text = `${JSON.stringify(plans, undefined, 2)}\n`;
    await writeFile(path, text, { flag: 'wx', flush: true });
  } catch (error) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `the plan ${path} cannot be written: ${messageOf(error)}; without --voters the existing plan is used`,
      { cause: error },
    );
  }
}

async function readPlans(path: string): Promise<readonly PartitionPlan[]> {
  try {
    return plansOf(await readFile(path, 'utf8'));
  } catch (error) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `the plan ${path} cannot be used: ${messageOf(error)}`,
      { cause: error },
    );
  }
}
