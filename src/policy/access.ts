/**
 * Who may do what: one table for the data path and the admin service, numbers in, verdict out (specification §11).
 *
 * `node`: another node of this cluster. `client`: a product's client. `operator`: administration and everything a client
 * may. `observer`: looks only.
 */

/** The role that a verified certificate carries. @public */
export type PrincipalRole = 'node' | 'client' | 'operator' | 'observer';

/** What is asked for. @public */
export type AccessAction =
  | 'peerMessage'
  | 'append'
  | 'read'
  | 'describe'
  | 'adminRead'
  | 'adminWrite';

/** The answer, with a reason that can be shown. @public */
export type AccessVerdict =
  | { readonly kind: 'allowed' }
  | { readonly kind: 'denied'; readonly reason: string };

const allowedActions: Readonly<Record<PrincipalRole, readonly AccessAction[]>> = {
  node: ['peerMessage', 'append', 'read', 'describe', 'adminRead'],
  client: ['append', 'read', 'describe', 'adminRead'],
  operator: ['append', 'read', 'describe', 'adminRead', 'adminWrite'],
  observer: ['describe', 'adminRead'],
};

const allowed: AccessVerdict = { kind: 'allowed' };

/** Decides whether a role may do something. @public */
export function judgeAccess(role: PrincipalRole, action: AccessAction): AccessVerdict {
  if (allowedActions[role].includes(action)) return allowed;
  return { kind: 'denied', reason: `the role ${role} does not allow ${action}` };
}
