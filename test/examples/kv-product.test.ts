/** The key-value store on what a node hosts: nothing yet, its one partition, or too many. */
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

import { silentObserver, type Partition, type ProductContext } from 'clustor';
import { expect, test } from 'vitest';

import { KvMachine } from '../../examples/kv/kv-machine.ts';
import { product } from '../../examples/kv/product.ts';
import { MemoryPartition } from './kv-partition.ts';

function hosted(): Partition {
  return new MemoryPartition(new KvMachine()) as unknown as Partition;
}

/** A node whose partitions change with the list. */
function contextOf(partitions: readonly Partition[]): ProductContext {
  const node = { nodeId: 1 } as unknown as ProductContext['node'];
  return { node, partitions, port: undefined, observer: silentObserver };
}

test('a node that hosts more than one partition does not start the store', async () => {
  await expect(product.start(contextOf([hosted(), hosted()]))).rejects.toMatchObject({
    code: 'CLUSTOR_INVALID_ARGUMENT',
    message: expect.stringContaining('one partition, and node 1 hosts 2') as string,
  });
});

test('a spare node serves the partition that it is given later, and neither of two', async () => {
  const partitions: Partition[] = [];
  const running = await product.start(contextOf(partitions));
  const ask = async (): Promise<string> => {
    const port = Number(running.addresses['redis']?.split(':')[1]);
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.end('SET a 1\r\nGET a\r\n');
    return text(socket);
  };

  const bare = await ask();
  partitions.push(hosted());
  const one = await ask();
  partitions.push(hosted());
  const two = await ask();
  await running.close();

  expect(bare).toMatch(/^-UNKNOWNPARTITION .*\r\n-UNKNOWNPARTITION .*\r\n$/);
  expect(one).toBe('+OK\r\n$1\r\n1\r\n');
  expect(two).toMatch(/^-INVALIDARGUMENT .*\r\n-INVALIDARGUMENT .*\r\n$/);
});
