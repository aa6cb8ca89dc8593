/** Members, plans and changes under way, for people. */
import type { Plain } from '../admin/admin-client.ts';
import type { PlanVotersResponse } from '../admin/generated/clustor/admin/v1/admin_pb.ts';
import { colours } from './colours.ts';
import type { PartitionView } from './leader-session.ts';
import { tableText } from './output.ts';

type MemberView = PartitionView['members'][number];
type Plan = Plain<PlanVotersResponse>;

/** The members as their leader sees them. */
export function membersText(view: PartitionView): string {
  const rows = view.members.map((member) => memberRow(view, member));
  const table = tableText(['node', 'role', 'address', 'lacks', 'sent by', 'silent'], rows);
  return view.joint === undefined ? table : `${table}\n${jointText(view.joint)}`;
}

/** One line: what is wanted and how far it is. */
export function viewText(title: string, view: PartitionView): string {
  const { joint } = view;
  if (joint !== undefined) {
    const share = Math.min(1, joint.committed / Math.max(1, joint.needed));
    return `${title}  joint ${bar(share)} ${Math.min(joint.committed, joint.needed)}/${joint.needed}`;
  }
  const learner = view.members.find((member) => member.role !== 'voter');
  if (learner === undefined) return title;
  const share = view.lastIndex === 0 ? 1 : (learner.matchIndex ?? 0) / view.lastIndex;
  return `${title}  node ${learner.nodeId} catches up ${bar(share)} ${Math.floor(share * 100)} %`;
}

/** What a change would do. */
export function planText(plan: Plan): string {
  const before = plan.survivabilityBefore;
  const after = plan.survivabilityAfter;
  const rows = [
    ['voters', before?.voters ?? 0, after?.voters ?? 0],
    ['of these alive', before?.alive ?? 0, after?.alive ?? 0],
    ['quorum', before?.quorum ?? 0, after?.quorum ?? 0],
    ['Q, single losses survived', percent(before?.lossesSurvived), percent(after?.lossesSurvived)],
    ['slack, voters that may go', before?.slack ?? 0, after?.slack ?? 0],
    ['H, headroom', percent(before?.headroom), percent(after?.headroom)],
  ];
  const lines = [
    `members ${namesOf(plan.before)} → ${namesOf(plan.after)}`,
    tableText(['', 'before', 'after'], rows),
    effectText(plan),
    verdictText(plan),
  ];
  if (plan.refusal !== '') lines.push(colours.dim(`now: ${plan.refusalCode} ${plan.refusal}`));
  return lines.join('\n');
}

function effectText(plan: Plan): string {
  switch (plan.phase) {
    case 'joint':
      return 'through a joint phase: until it ends, writes and elections need a majority of both lists';
    case 'learners':
      return 'at once: the voters stay the same';
    default:
      return 'nothing to do';
  }
}

function verdictText(plan: Plan): string {
  if (plan.verdict === 'allowed') return colours.green('allowed');
  const colour = plan.verdict === 'overridden' ? colours.yellow : colours.red;
  return `${colour(plan.verdict)}: ${plan.verdictReason}`;
}

function jointText(joint: NonNullable<PartitionView['joint']>): string {
  const back = joint.rollbackReason === undefined ? '' : `; goes back: ${joint.rollbackReason}`;
  return `${colours.yellow('joint phase')} for ${joint.sinceMs} ms, from ${namesOf(joint.outgoingMembers)}: ${joint.committed} of ${joint.needed} entries${back}`;
}

function memberRow(view: PartitionView, member: MemberView): readonly (string | number)[] {
  const isLeader = member.nodeId === view.leaderNodeId;
  const lacks = Math.max(0, view.lastIndex - (member.matchIndex ?? 0));
  return [
    member.nodeId,
    isLeader ? colours.green('leader') : member.role,
    member.addresses[0] ?? '',
    isLeader ? '' : lacks,
    member.inDoubt ? colours.red('in doubt') : (member.progress ?? ''),
    member.silentMs === undefined ? '' : `${member.silentMs} ms`,
  ];
}

function namesOf(members: readonly MemberView[]): string {
  return members
    .map((member) =>
      member.role === 'voter' ? `${member.nodeId}` : `${member.nodeId} (${member.role})`,
    )
    .join(', ');
}

function percent(value: number | undefined): string {
  return `${Math.round((value ?? 0) * 100)} %`;
}

function bar(share: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * 20);
  return '█'.repeat(filled).padEnd(20, '░');
}
