//! HA clusters, as their members report them.

use muster_proto::v1::{self, HaReport, HaRole};
use tonic::Code;

use super::Found;
use super::subject::{Caller, Subject, answered, digest, expect, refused};

/// Two boxes that are one cluster: the first is the primary.
struct Pair {
    first: Caller,
    second: Caller,
    members: Vec<String>,
}

impl Pair {
    fn report(&self, role: HaRole, epoch: Option<i64>) -> HaReport {
        let (group_name, member_serial_numbers) = ("conformance".to_owned(), self.members.clone());
        HaReport { group_name, role: role.into(), epoch, member_serial_numbers }
    }
}

async fn sync(device: &mut Caller, names: &[&str], ha: HaReport) -> Result<v1::SyncResponse, String> {
    let request = v1::SyncRequest { ha: Some(ha), ..device.sync_request(names) };
    answered("Sync with HaReport", device.client.sync(request).await)
}

fn standing(answer: v1::SyncResponse) -> Result<v1::ClusterStanding, String> {
    answer.cluster.ok_or_else(|| "expected ClusterStanding, got none".to_owned())
}

/// Lets two boxes find together by their reports.
async fn pair(subject: &Subject) -> Result<Pair, String> {
    let (first, second) = (subject.device().await?, subject.device().await?);
    let members = vec![first.serial.clone(), second.serial.clone()];
    let mut pair = Pair { first, second, members };
    let primary = pair.report(HaRole::Primary, None);
    let founded = standing(sync(&mut pair.first, &["root", "a"], primary).await?)?;
    expect("the founder", (founded.outcome(), founded.role()), (v1::Outcome::Created, HaRole::Primary))?;
    expect("the first epoch", founded.epoch, 1)?;
    let secondary = pair.report(HaRole::Secondary, None);
    let joined = standing(sync(&mut pair.second, &["root", "a"], secondary).await?)?;
    expect("who joins", (joined.outcome(), joined.role()), (v1::Outcome::Updated, HaRole::Secondary))?;
    expect("its cluster and epoch", (&joined.cluster, joined.epoch), (&founded.cluster, 1))?;
    Ok(pair)
}

pub(super) async fn is_made_by_reports(subject: &Subject) -> Found {
    let mut pair = pair(subject).await?;
    let again = pair.report(HaRole::Primary, Some(1));
    let again = standing(sync(&mut pair.first, &["root", "a"], again).await?)?;
    expect("the same report again", (again.outcome(), again.epoch), (v1::Outcome::Unchanged, 1))?;
    let alone = pair.report(HaRole::Standalone, None);
    let left = standing(sync(&mut pair.second, &["root", "a"], alone).await?)?;
    expect("who leaves", (left.outcome(), left.cluster.as_str()), (v1::Outcome::Updated, ""))
}

pub(super) async fn fails_over(subject: &Subject) -> Found {
    let mut pair = pair(subject).await?;
    let over = pair.report(HaRole::Primary, Some(2));
    let over = standing(sync(&mut pair.second, &["root", "a"], over).await?)?;
    expect("who takes over", (over.role(), over.epoch), (HaRole::Primary, 2))?;
    let follows = pair.report(HaRole::Secondary, Some(2));
    let follows = standing(sync(&mut pair.first, &["root", "a"], follows).await?)?;
    expect("who was the primary", (follows.role(), follows.epoch), (HaRole::Secondary, 2))
}

pub(super) async fn stale_epoch_is_fenced(subject: &Subject) -> Found {
    let mut pair = pair(subject).await?;
    let over = pair.report(HaRole::Primary, Some(2));
    sync(&mut pair.second, &["root", "a"], over).await?;
    // It slept through that, and believes that it still speaks for the cluster.
    let stale = pair.report(HaRole::Primary, Some(1));
    let request = v1::SyncRequest { ha: Some(stale), ..pair.first.sync_request(&["root", "a", "x"]) };
    refused("an older epoch", pair.first.client.sync(request).await, Code::Aborted, "STALE_EPOCH")?;
    let ahead = pair.report(HaRole::Primary, Some(9));
    let request = v1::SyncRequest { ha: Some(ahead), ..pair.first.sync_request(&["root", "a", "x"]) };
    refused("an epoch of the future", pair.first.client.sync(request).await, Code::FailedPrecondition, "EPOCH_AHEAD")?;
    let held = v1::SyncRequest { digest: digest(&["root", "a"])?, full_list: None, ..pair.second.sync_request(&[]) };
    let held = answered("Sync by digest", pair.second.client.sync(held).await)?;
    expect("what was fenced out did nothing", held.status(), v1::SyncStatus::InSync)
}
