//! The service behind the gate: an ordinary Socket.IO server with a web page, which does not know of Tidegate.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    thread,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socketioxide::SocketIo;
use tokio::{net::TcpListener, runtime::Runtime};

use super::{life::Life, pages::Pages, tutor};

/// Starts the service on a free loopback port, on a thread of its own, and returns its address.
pub(crate) fn start(pages: Pages, life: Life) -> io::Result<SocketAddr> {
    let mut listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let pages = Arc::new(pages);
    thread::Builder::new().name("service".to_owned()).spawn(move || {
        loop {
            if let Err(error) = live(listener, &pages, &life) {
                return eprintln!("the service of the demo has stopped: {error}");
            }
            listener = match runtime().and_then(|runtime| {
                runtime.block_on(life.revived());
                std::net::TcpListener::bind(address)
            }) {
                Ok(listener) => listener,
                Err(error) => return eprintln!("the service of the demo does not restart: {error}"),
            };
        }
    })?;
    Ok(address)
}

/// One run of the service, until it is killed: its runtime drops all state and connections.
fn live(listener: std::net::TcpListener, pages: &Arc<Pages>, life: &Life) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    runtime()?.block_on(async {
        tokio::select! {
            served = serve(listener, Arc::clone(pages)) => served,
            () = life.killed() => Ok(()),
        }
    })
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn serve(listener: std::net::TcpListener, pages: Arc<Pages>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let pages = service_fn(move |request| {
        let response = pages.answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let (service, io) = SocketIo::builder().build_with_inner_svc(pages);
    let heard = tutor::Heard::default();
    io.ns("/", async move |socket, auth| tutor::connected(socket, auth, &heard));
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(connection.with_upgrades());
    }
}
