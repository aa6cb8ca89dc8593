/** Redis clients without any mending of their own: what fails, fails, and nothing is sent twice. */
import { Redis } from 'ioredis';
import { onTestFinished } from 'vitest';

/** Connects to `host:port`; disconnected when the test has finished. */
export async function redisAt(address: string): Promise<Redis> {
  const colon = address.lastIndexOf(':');
  const client = new Redis({
    host: address.slice(0, colon),
    port: Number(address.slice(colon + 1)),
    lazyConnect: true,
    retryStrategy: () => null,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
  });
  // Whoever waits for an answer hears of it; without a listener it would be printed as well.
  client.on('error', () => undefined);
  onTestFinished(() => {
    client.disconnect();
  });
  await client.connect();
  return client;
}

/** Count of keys and hash of all keys and values, as one node has them. */
export async function contentOf(
  client: Redis,
): Promise<{ readonly count: number; readonly hash: string }> {
  const [count, hash] = (await client.call('CLUSTOR.DIGEST')) as [unknown, unknown];
  return { count: Number(count), hash: String(hash) };
}
