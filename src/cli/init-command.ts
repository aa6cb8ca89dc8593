/** `clustor init`: creates the replicas of one node from a plan that all members share (specification §1 Identity). */
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { v7 as uuidv7 } from 'uuid';
import { ClustorError, messageOf } from '../base/errors.ts';
import { partitionId } from '../base/ids.ts';
import { initializeReplicas, planReplicas, type PartitionPlan } from '../index.ts';
import { exitCodes } from './exit-codes.ts';
import { keyProviderOf, type KeyConfig, type KeyOptions } from './key-options.ts';
import type { Output } from './output.ts';

/** Options of the command line. */
export interface InitOptions extends KeyOptions {
  readonly config: string;
  readonly plan: string;
  readonly voters?: string;
  readonly partitions: number;
}

/** Creates the replicas; writes the plan first when it is asked to. */
export async function runInit(options: InitOptions, output: Output): Promise<number> {
  const config = await readJson<{
    readonly clusterId: string;
    readonly nodeId: number;
    readonly dataDirectory: string;
    readonly encryption?: KeyConfig;
  }>(options.config, 'configuration');
  const plans = await plansOf(options);
  const directory = resolve(dirname(resolve(options.config)), config.dataDirectory);
  const keyProvider = await keyProviderOf(options, {
    encryption: config.encryption,
    path: options.config,
  });
  await initializeReplicas({
    directory,
    encryption: keyProvider === undefined ? 'none' : { keyProvider },
    clusterId: config.clusterId,
    nodeId: config.nodeId,
    partitions: plans,
  });
  const partitionIds = plans.map((plan) => plan.partitionId);
  output.result(
    { event: 'initialized', nodeId: config.nodeId, directory, partitionIds },
    `node ${config.nodeId} hosts ${partitionIds.length} replica(s) in ${directory}`,
  );
  return exitCodes.done;
}

async function plansOf(options: InitOptions): Promise<readonly PartitionPlan[]> {
  if (options.voters === undefined) return readJson<readonly PartitionPlan[]>(options.plan, 'plan');
  const voters = options.voters.split(',').map((text) => {
    const match = /^(\d+)=(.+:\d+)$/.exec(text);
    if (match?.[1] === undefined || match[2] === undefined)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `a voter looks like 1=host:port, got "${text}"`,
      );
    return { nodeId: Number(match[1]), address: match[2] };
  });
  const plans = Array.from({ length: options.partitions }, () =>
    planReplicas(partitionId(uuidv7()), voters),
  );
  try {
    await writeFile(options.plan, `${JSON.stringify(plans, undefined, 2)}\n`, { flag: 'wx' });
  } catch (error) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `the plan ${options.plan} cannot be written: ${messageOf(error)}; without --voters the existing plan is used`,
      { cause: error },
    );
  }
  return plans;
}

async function readJson<T>(path: string, what: string): Promise<T> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T;
  } catch (error) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `the ${what} ${path} cannot be read: ${messageOf(error)}`,
      { cause: error },
    );
  }
}
