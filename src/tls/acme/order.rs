//! One order, from the account to the certificate (RFC 8555 §7).

use std::{sync::Arc, time::Duration};

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, Error, Identifier, NewAccount, NewOrder, Order, OrderStatus,
    Problem, RetryPolicy,
};
use serde::{Deserialize, Serialize};
use tokio::time::{error::Elapsed, sleep, timeout};
use zeroize::Zeroizing;

use super::{
    authority::Bounded,
    certificate::{Ordered, OrderedError},
    challenges::{Challenges, Open, SHARED_AFTER},
    entries::{Entries, Entry},
    table::{AcmeRules, ChallengeType},
};
use crate::observe::journal::{self, LogLevel};

/// For the whole order. Authorities verify from several places, one after the other.
const ORDER_TIMEOUT: Duration = Duration::from_mins(5);
/// How long the order polls for verified challenges, and for the certificate.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).backoff(1.5).timeout(Duration::from_mins(2));

/// The authority does not know the account.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why an order failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error(transparent)]
    Acme(#[from] Error),
    #[error(
        "the ACME server does not offer {challenge_type} for {domain}; set tls.acme.challenges to what it offers: {offered}"
    )]
    NotOffered { challenge_type: ChallengeType, domain: String, offered: String },
    #[error("the ACME server could not verify {domain} by {challenge_type}: {why}")]
    NotSeen { domain: String, challenge_type: ChallengeType, why: String },
    #[error("the order was refused")]
    Refused,
    #[error("the ACME server delivered a certificate that cannot be used: {0}")]
    Certificate(#[from] OrderedError),
    #[error("the order was not complete within {} s", ORDER_TIMEOUT.as_secs())]
    TimedOut(#[from] Elapsed),
}

/// An account as stored in the cache.
#[derive(Serialize, Deserialize)]
struct StoredAccount {
    contact: Vec<String>,
    credentials: AccountCredentials,
}

/// The inputs of one order. The caller holds the lock of the cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct Orderer<'a> {
    pub(super) rules: &'a AcmeRules,
    pub(super) entries: &'a Entries,
    pub(super) challenges: &'a Arc<Challenges>,
    pub(super) client: &'a Bounded,
    /// The kind of challenge that is used.
    pub(super) challenge_type: ChallengeType,
}

impl Orderer<'_> {
    /// Orders, and closes the challenges in any case.
    pub(super) async fn order(self) -> Result<Ordered, OrderError> {
        let outcome = timeout(ORDER_TIMEOUT, self.try_order()).await;
        self.challenges.close().await;
        outcome?
    }

    async fn try_order(self) -> Result<Ordered, OrderError> {
        let identifiers: Vec<_> = self.rules.domains.iter().cloned().map(Identifier::Dns).collect();
        let wanted = NewOrder::new(&identifiers);
        let account = self.account(self.stored_account().await).await?;
        let mut order = match account.new_order(&wanted).await {
            Err(error) if is(&error, NO_ACCOUNT) => self.account(None).await?.new_order(&wanted).await?,
            ordered => ordered?,
        };
        let open = self.challenges_of(&mut order).await?;
        if !open.is_empty() {
            self.challenges.open(open).await;
            sleep(SHARED_AFTER).await;
            self.ready(&mut order).await?;
        }
        match order.poll_ready(&PATIENCE).await {
            Ok(OrderStatus::Ready) => {}
            outcome => return Err(self.not_seen(&mut order, outcome.err()).await),
        }
        let key = Zeroizing::new(order.finalize().await?);
        let chain = order.poll_certificate(&PATIENCE).await?;
        let pem = Zeroizing::new([key.as_bytes(), chain.as_bytes()].concat());
        Ok(Ordered::from_pem(pem, &self.rules.domains)?)
    }

    async fn stored_account(self) -> Option<StoredAccount> {
        let content = Zeroizing::new(self.entries.load(Entry::Account).await?);
        let kept = serde_json::from_slice(&content);
        if kept.is_err() {
            journal::line(LogLevel::Warn, "tls.acme.cache: the stored account cannot be read; a new one is made");
        }
        kept.ok()
    }

    /// The stored account, or a new one, which is stored.
    async fn account(self, kept: Option<StoredAccount>) -> Result<Account, Error> {
        let client = Box::new(self.client.clone());
        let contact: Vec<&str> = self.rules.contact.iter().map(String::as_str).collect();
        let (account, credentials) = match kept {
            Some(StoredAccount { contact: told, credentials }) => {
                let unchanged = told == self.rules.contact;
                let copy = serde_json::to_value(&credentials)?;
                let account = Account::builder_with_http(client).from_credentials(credentials).await?;
                if unchanged {
                    return Ok(account);
                }
                match account.update_contacts(&contact).await {
                    // The order fails with the same error and makes a new account.
                    Err(error) if is(&error, NO_ACCOUNT) => return Ok(account),
                    told => told?,
                }
                (account, serde_json::from_value(copy)?)
            }
            None => {
                let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
                let directory = self.rules.directory.clone();
                Account::builder_with_http(client).create(&new, directory, None).await?
            }
        };
        let kept = StoredAccount { contact: self.rules.contact.clone(), credentials };
        self.entries.store(Entry::Account, serde_json::to_vec(&kept)?).await;
        Ok(account)
    }

    /// The challenges to answer. Names that the authority has verified lately need none.
    async fn challenges_of(self, order: &mut Order) -> Result<Vec<Open>, OrderError> {
        let mut open = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let domain = authorization.identifier().to_string();
            let offered: Vec<_> = authorization.challenges.iter().map(|offer| format!("{:?}", offer.r#type)).collect();
            let Some(challenge) = authorization.challenge(self.kind()) else {
                return Err(OrderError::NotOffered {
                    challenge_type: self.challenge_type,
                    domain,
                    offered: offered.join(", "),
                });
            };
            open.push(Open {
                challenge_type: self.challenge_type,
                domain: domain.to_ascii_lowercase(),
                token: challenge.token.clone(),
                key_authorization: challenge.key_authorization().as_str().to_owned(),
            });
        }
        Ok(open)
    }

    /// Asks the authority to verify.
    async fn ready(self, order: &mut Order) -> Result<(), OrderError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status != AuthorizationStatus::Valid
                && let Some(mut challenge) = authorization.challenge(self.kind())
            {
                challenge.set_ready().await?;
            }
        }
        Ok(())
    }

    /// The authority's reason for a failed verification, or else the error of the order.
    async fn not_seen(self, order: &mut Order, error: Option<Error>) -> OrderError {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(state) = authorization.refresh().await else { break };
            let problem: Option<&Problem> = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            if let Some(problem) = problem {
                let (domain, why) = (state.identifier().to_string(), problem.to_string());
                return OrderError::NotSeen { domain, challenge_type: self.challenge_type, why };
            }
        }
        error.map_or(OrderError::Refused, OrderError::Acme)
    }

    const fn kind(self) -> instant_acme::ChallengeType {
        match self.challenge_type {
            ChallengeType::TlsAlpn01 => instant_acme::ChallengeType::TlsAlpn01,
            ChallengeType::Http01 => instant_acme::ChallengeType::Http01,
        }
    }
}

fn is(error: &Error, kind: &str) -> bool {
    matches!(error, Error::Api(problem) if problem.r#type.as_deref() == Some(kind))
}
