/** What a caller of the admin service learns of a call that had no answer. */
import { createServer, type AddressInfo } from 'node:net';

import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import { describe, expect, onTestFinished, test } from 'vitest';

import { createAdminClient, type AdminClient } from '../../src/admin/admin-client.ts';
import { asConnectError } from '../../src/admin/admin-service.ts';
import { AdminService } from '../../src/admin/generated/clustor/admin/v1/admin_pb.ts';
import { ClustorError } from '../../src/base/errors.ts';
import { AdminWorld } from './admin-fixture.ts';

/** A client whose calls all end like this. */
function clientThatMeets(failure: () => Promise<never>, close = () => {}): AdminClient {
  const transport = createRouterTransport(({ service }) => {
    service(AdminService, {
      getStatus: failure,
      addMember: failure,
      rotateKeys: failure,
      startScrub: failure,
    });
  });
  return createAdminClient({
    transport,
    endpoint: 'node-1:7400',
    refusalOf: () => undefined,
    close,
  });
}

async function failureOf(call: Promise<unknown>): Promise<ClustorError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ClustorError)) throw new Error('no coded error');
  return error;
}

const timeOut = (): Promise<never> =>
  Promise.reject(new ConnectError('too late', Code.DeadlineExceeded));

describe('a call without an answer', () => {
  test('is unknown where it changes something, and names the time that it waited', async () => {
    const client = clientThatMeets(timeOut);

    const added = await failureOf(client.addMember({ deadlineMs: 2_000 }));
    const rotated = await failureOf(client.rotateKeys());

    expect(added).toMatchObject({ code: 'CLUSTOR_DEADLINE_EXCEEDED', outcome: 'unknown' });
    expect(added.message).toContain('within 7000 ms');
    expect(rotated).toMatchObject({ code: 'CLUSTOR_DEADLINE_EXCEEDED', outcome: 'unknown' });
    expect(rotated.message).toContain('within 60000 ms');
  });

  test('surely did nothing where it only looks', async () => {
    const error = await failureOf(clientThatMeets(timeOut).getStatus());

    expect(error).toMatchObject({ code: 'CLUSTOR_DEADLINE_EXCEEDED', outcome: 'surelyNot' });
  });

  test('is unknown where the connection was cut below a change', async () => {
    const client = clientThatMeets(() =>
      Promise.reject(new ConnectError('read ECONNRESET', Code.Aborted)),
    );

    expect(await failureOf(client.startScrub())).toMatchObject({
      code: 'CLUSTOR_NO_LEADER',
      outcome: 'unknown',
    });
    expect(await failureOf(client.getStatus())).toMatchObject({ outcome: 'surelyNot' });
  });

  test('is unknown where the client is closed while a change runs, and surely not afterwards', async () => {
    let cut: () => void = () => {};
    const never = new Promise<never>((_, reject) => {
      cut = () => reject(new ConnectError('closed', Code.Canceled));
    });
    const client = clientThatMeets(() => never, cut);

    const running = failureOf(client.startScrub());
    await new Promise(setImmediate);
    await client.close();

    expect(await running).toMatchObject({ code: 'CLUSTOR_CLOSED', outcome: 'unknown' });
    expect(await failureOf(client.startScrub())).toMatchObject({ outcome: 'surelyNot' });
  });
});

test('the outcome that a node tells is the one that the caller learns', async () => {
  const refusal = new ClustorError('CLUSTOR_CLOSED', 'not begun', { outcome: 'surelyNot' });
  const client = clientThatMeets(() => Promise.reject(asConnectError(refusal)));

  expect(await failureOf(client.startScrub())).toMatchObject({
    code: 'CLUSTOR_CLOSED',
    outcome: 'surelyNot',
  });
});

test('a change surely did not happen where nobody listens, and is unknown where the connection ends', async () => {
  const world = await AdminWorld.create();
  onTestFinished(() => world.close());
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.destroy());
  });
  onTestFinished(() => new Promise<void>((done) => void server.close(() => done())));
  await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;

  const nobody = await world.client({ host: '127.0.0.1', port: 9 });
  const cutting = await world.client({ host: '127.0.0.1', port });

  expect(await failureOf(nobody.startScrub())).toMatchObject({ outcome: 'surelyNot' });
  expect(await failureOf(cutting.startScrub())).toMatchObject({ outcome: 'unknown' });
});
