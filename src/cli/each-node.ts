/** Commands for every node of a cluster, or for one that is named. */
import type { AdminClient } from '../admin/admin-client.ts';
import { ClustorError } from '../base/errors.ts';
import { openAdminClient } from '../client/admin.ts';
import { connect } from '../client/index.ts';
import { parseCertificateMaterial } from '../platform/certificate-files.ts';
import { parseAddress } from '../runtime/node-address.ts';
import { connectionOf, type ConnectionOptions } from './connection.ts';
import { exitCodes } from './exit-codes.ts';

/** Options of such a command. */
export interface EachNodeOptions extends ConnectionOptions {
  /** Which node; all without it. */
  readonly node?: number;
  readonly json?: boolean;
}

/** Asks one node after the other: what stops the first one leaves the others as they are. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` for a node that is none, or of the call. */
export async function eachNode(
  options: EachNodeOptions,
  ask: (node: { readonly nodeId: number; readonly admin: AdminClient }) => Promise<void>,
): Promise<number> {
  const connection = await connectionOf(options, 'operator');
  const client = await connect(connection);
  try {
    const { nodes } = await client.describe();
    const chosen = nodes.filter((row) => options.node === undefined || row.nodeId === options.node);
    if (chosen.length === 0)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `there is no node ${options.node ?? ''}; there are ${nodes.map((row) => row.nodeId).join(', ')}`,
      );
    for (const { nodeId, address } of chosen) {
      const admin = openAdminClient({
        address: parseAddress(address),
        material: parseCertificateMaterial(connection),
        expected: nodeId,
      });
      try {
        await ask({ nodeId, admin });
      } finally {
        await admin.close();
      }
    }
    return exitCodes.done;
  } finally {
    await client.close();
  }
}
