"""Short pieces of PyTorch code as a first course writes them. Each leaves what it found in ``result``.

Given are: X, rows (8, 6) in [0, 1]; images (8, 1, 8, 8); y, their 8 labels of 3 classes; targets (8, 1); and
``same(model)``, which fills a model with weights that depend on nothing but their shapes.
"""

AGREE = {
    "a derivative": """
x = torch.tensor(2.0, requires_grad=True)
y = x ** 2 + 3 * x
y.backward()
result = x.grad""",
    "a gradient of a mean": """
x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
loss = ((x - 1) ** 2).mean()
loss.backward()
result = [loss.item(), x.grad]""",
    "linear regression by hand": """
w = torch.tensor([[0.0]] * 6, requires_grad=True)
b = torch.tensor(0.0, requires_grad=True)
for epoch in range(20):
    loss = ((X @ w + b - targets) ** 2).mean()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
        b -= 0.1 * b.grad
    w.grad = None
    b.grad = None
result = [loss.item(), w, b]""",
    "slicing": """
result = [X[0], X[:, 0], X[1:3, ::2], X[..., -1], X[:, None, :2]]""",
    "a mask": """
result = [X[X > 0.5].sum(), X[X[:, 0] > 0.5]]""",
    "a list as an index": """
result = X[[0, 2, 2]] * X[:3]""",
    "joining": """
result = [torch.cat([X, X], dim=1), torch.cat((X, X)), torch.stack([X, X], dim=1)]""",
    "new axes": """
result = [X.unsqueeze(1), X.unsqueeze(0).squeeze(0), X.unsqueeze(dim=-1)]""",
    "reshaping": """
result = [X.view(4, -1), X.reshape(2, 4, 6).permute(2, 0, 1), images.flatten(1), torch.flatten(images, 1)]""",
    "lengths": """
b, c, h, w = images.size()
result = [images.view(images.size(0), -1), images.view(b, c, h * w) / images.size(-1)]""",
    "normalising columns": """
result = (X - X.mean(dim=0, keepdim=True)) / (X.var(dim=0, keepdim=True, correction=0) + 1e-5).sqrt()""",
    "softmax by hand": """
e = torch.exp(X)
result = e / torch.sum(e, dim=1, keepdim=True)""",
    "softmax": """
result = [F.softmax(X, dim=1), torch.softmax(X, dim=0), F.log_softmax(X, dim=-1), nn.Softmax(dim=1)(X)]""",
    "functions of elements": """
x = X * 4 - 2
result = [torch.relu(x), torch.sigmoid(x), torch.tanh(x), torch.abs(x), torch.sin(x), x.cos(), x.exp()]""",
    "clamping": """
result = [torch.clamp(X, min=0.2, max=0.8), X.clamp(min=0.5), torch.where(X > 0.5, X, 0.0)]""",
    "products": """
result = [torch.matmul(X, X.T), X @ X.T, torch.einsum("ij,kj->ik", X, X), (X * X).sum()]""",
    "cosine similarity": """
unit = X / X.norm(dim=1, keepdim=True)
result = unit @ unit.T""",
    "cumulative sums and products": """
result = [X.cumsum(dim=0), X.prod(dim=1), torch.flip(X, dims=[0]), X.tile(2, 1)]""",
    "chunks": """
a, b = X.chunk(2, dim=1)
result = a - b""",
    "a perceptron": """
model = same(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)))
result = model(X)""",
    "a module": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(4 * 4 * 4, 10)
        self.fc2 = nn.Linear(10, 3)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)

model = same(Net())
result = [model(images), sum(p.shape[0] for p in model.parameters())]""",
    "a training loop": """
model = same(nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3)))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
losses = []
for epoch in range(5):
    for i in range(0, 8, 4):
        optimizer.zero_grad()
        outputs = model(images[i : i + 4])
        loss = criterion(outputs, y[i : i + 4])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
result = losses""",
    "regression with Adam": """
import torch.optim as optim

model = same(nn.Linear(6, 1))
loss_fn = nn.MSELoss()
optimizer = optim.Adam(model.parameters(), lr=1e-2)
for _ in range(10):
    loss = loss_fn(model(X), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
result = [loss.item(), model.weight, model.bias]""",
    "RMSprop and weight decay": """
model = same(nn.Linear(6, 3))
optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-2, weight_decay=1e-2, momentum=0.9)
for _ in range(10):
    optimizer.zero_grad()
    F.cross_entropy(model(X), y).backward()
    optimizer.step()
result = model.weight""",
    "two classes": """
model = same(nn.Linear(6, 1))
loss = nn.BCEWithLogitsLoss()(model(X), (targets > 0.5) * 1.0)
loss.backward()
result = [loss.item(), model.weight.grad]""",
    "log-probabilities": """
model = same(nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(dim=1)))
result = [nn.NLLLoss()(model(X), y), F.nll_loss(F.log_softmax(X, dim=1), y)]""",
    "losses of numbers": """
result = [F.mse_loss(X, X * 2), F.l1_loss(X, X * 2), F.smooth_l1_loss(X, X * 9)]""",
    "label smoothing and class weights": """
result = F.cross_entropy(X[:, :3], y, label_smoothing=0.1, reduction="none")""",
    "train and eval": """
model = same(nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Dropout(0.0)))
model.train()
model(images)
model.eval()
with torch.no_grad():
    result = [model(images), model[1].running_mean]""",
    "accuracy": """
model = same(nn.Linear(6, 3))
model.eval()
with torch.no_grad():
    predicted = model(X).argmax(dim=1)
result = (predicted == y).sum().item() / len(y)""",
    "a frozen body and a new head": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(6, 4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(F.elu(self.body(x)))

model = same(Net())
for param in model.parameters():
    param.requires_grad = False
model.fc = same(nn.Linear(4, 3))
optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
F.cross_entropy(model(X), y).backward()
optimizer.step()
result = [p for p in model.parameters()]""",
    "groups of parameters": """
model = same(nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)))
groups = [{"params": model[0].parameters(), "lr": 1e-3}, {"params": model[2].parameters()}]
optimizer = torch.optim.AdamW(groups, lr=1e-2)
for epoch in range(6):
    optimizer.zero_grad()
    F.cross_entropy(model(X), y).backward()
    optimizer.step()
    if epoch == 2:
        for group in optimizer.param_groups:
            group["lr"] *= 0.1
result = [p for p in model.parameters()]""",
    "weights there and back": """
a, b = same(nn.Linear(6, 3)), nn.Linear(6, 3)
b.load_state_dict(a.state_dict())
result = b(X)""",
    "a list of modules": """
class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6) for _ in range(3)])

    def forward(self, x):
        for layer in self.layers:
            x = x + F.gelu(layer(x))
        return x

result = same(Deep())(X)""",
    "constant weights by apply": """
def init_weights(m):
    if isinstance(m, nn.Linear):
        nn.init.constant_(m.weight, 0.1)
        nn.init.zeros_(m.bias)

model = nn.Sequential(nn.Linear(6, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
result = model.apply(init_weights)(X)""",
    "random weights": """
layer = nn.Linear(6, 4)
nn.init.xavier_normal_(layer.weight)
nn.init.normal_(layer.weight, mean=0.0, std=0.01)
nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
nn.init.uniform_(layer.weight, a=-0.1, b=0.1)
nn.init.ones_(layer.bias)
result = [layer.bias, 1.0 * (layer.weight.abs().max() <= 0.1)]""",
    "a last layer replaced by its number": """
model = same(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)))
model[2] = same(nn.Linear(model[2].in_features, 3))
model[-2] = nn.Identity()
result = model(X)""",
    "the body without the head": """
model = same(nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)))
result = nn.Sequential(*list(model.children())[:-1])(images)""",
    "a parameter of a tensor": """
class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, x):
        return x * self.w

model = Scale()
model(X[:, :2]).sum().backward()
result = [model.w, model.w.grad]""",
    "a list that grows": """
layers = nn.ModuleList()
for _ in range(2):
    layers.append(nn.Linear(6, 6))
layers.extend([nn.ReLU(), nn.Linear(6, 2)])
x = X
for layer in same(layers):
    x = layer(x)
result = x""",
    "backward from a vector, and twice": """
x = torch.tensor([1.0, 2.0], requires_grad=True)
z = x * x
z.backward(gradient=torch.tensor([1.0, 0.5]), retain_graph=True)
z.backward(torch.tensor([1.0, 1.0]))
result = x.grad""",
    "deviations divided by n": """
result = [X.std(dim=0, unbiased=False), X.var(1, unbiased=True), torch.std(X, dim=0, correction=1)]""",
    "an autoencoder": """
class AutoEncoder(nn.Module):
    def __init__(self):
        super(AutoEncoder, self).__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))
        self.decoder = nn.Sequential(nn.Linear(4, 64), nn.Sigmoid())

    def forward(self, x):
        return self.decoder(self.encoder(x.view(-1, 64)))

model = same(AutoEncoder())
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5, betas=(0.5, 0.999))
for epoch in range(3):
    loss = nn.MSELoss()(model(images), images.view(-1, 64))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
result = loss.item()""",
    "a checkpoint of model and optimizer": """
model, other = same(nn.Linear(6, 3)), nn.Linear(6, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
again = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
for _ in range(2):
    optimizer.zero_grad()
    F.cross_entropy(model(X), y).backward()
    optimizer.step()
checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
other.load_state_dict(checkpoint["model"])
again.load_state_dict(checkpoint["optimizer"])
F.cross_entropy(other(X), y).backward()
again.step()
result = [other.weight, other.bias]""",
    "a residual block with a hook": """
class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        out = self.bn(self.conv(x))
        out += x
        return F.relu(out)

seen = []
model = same(nn.Sequential(nn.Conv2d(1, 4, 3), Block(4), nn.Flatten(), nn.Linear(144, 3)))
handle = model[1].register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
F.cross_entropy(model(images), y).backward()
handle.remove()
result = [seen[0], model[0].weight.grad, model[1].bn.running_var]""",
    "penalties and accumulated gradients": """
model = same(nn.Linear(6, 3))
for i in range(0, 8, 2):
    penalty = sum(p.abs().sum() + (p ** 2).sum() for p in model.parameters())
    (F.cross_entropy(model(X[i : i + 2]), y[i : i + 2]) / 4 + 0.01 * penalty).backward()
result = model.weight.grad""",
    "norms and a larger image": """
body = nn.Sequential(nn.Conv2d(1, 4, 3, padding="same"), nn.GroupNorm(2, 4), nn.SiLU())
model = same(nn.Sequential(body, nn.Upsample(scale_factor=2)))
result = [model(images), F.interpolate(images, size=(5, 3), mode="bilinear"), F.layer_norm(X, (6,))]""",
}

# code, and the part of its error that names the right code
REFUSED = {
    "transpose of a matrix": ("result = X.transpose(0, 1)", r"swaps in PyTorch: write swapaxes\(0, 1\)"),
    "values and places of a maximum": (
        "values, places = X.max(dim=1)",
        r"write t.max\(axis=...\) for the values, and np.argmax",
    ),
    "places of a maximum in two rows": (
        "_, predicted = X[:2].max(1)",
        r"max\(dim\) gives values and places in PyTorch: write t.max\(axis=...\)",
    ),
    "the maximum as a function": (
        "_, predicted = torch.max(X, 1)",
        r"write t.max\(axis=...\), and t.argmax",
    ),
    "zeros": ("result = torch.zeros(2, 3)", r"write minidl.Tensor\(np.zeros\(...\)\)"),
    "another device": ("device = torch.device('cpu')", "there is one device"),
    "a model to a device": ("model = nn.Linear(6, 3).to('cpu')", "write nothing: there is one device"),
    "rows to a device": ("x = X.to('cpu')", "write t itself, since there is one device"),
    "a parameter of a computed tensor": (
        "result = nn.Parameter(X.requires_grad_() * 2)",
        r"the array t.data",
    ),
    "a clipped norm": (
        "nn.utils.clip_grad_norm_(nn.Linear(2, 2).parameters(), 1.0)",
        "write minidl.train.clip_grad_norm",
    ),
    "the loss of probabilities": ("criterion = nn.BCELoss()", "write nn.BCEWithLogitsLoss, and no Sigmoid"),
    "a transposed convolution": (
        "layer = nn.ConvTranspose2d(1, 4, 2)",
        r"write nn.Upsample\(scale_factor=2\)",
    ),
    "unit rows": (
        "result = F.normalize(X)",
        r"write x / minidl.maximum\(x.norm\(dim=1, keepdim=True\), 1e-12\)",
    ),
    "a product of matrices by name": ("result = torch.mm(X, X.T)", "write t @ other"),
    "a change in place by name": (
        "w = torch.tensor([1.0])\nwith torch.no_grad():\n    w.sub_(0.1)",
        r"write t \+= other, t -= other",
    ),
    "a gradient by autograd": (
        "x = torch.tensor(1.0, requires_grad=True)\ng = torch.autograd.grad(x * x, x)",
        r"write minidl.grad\(y, x\)",
    ),
    "batches of a data set": ("loader = torch.utils.data.DataLoader([1, 2])", "write minidl.data.batches"),
    "a scheduler of optim": (
        "import torch.optim as optim\nscheduler = optim.lr_scheduler",
        "write minidl.train.schedules",
    ),
    "places in order": ("result = X.argsort(dim=1)", r"write np.argsort\(t.data, axis=...\)"),
    "a float": ("accuracy = (X > 0.5).sum() * X.float()", r"write t.astype\(np.float32\)"),
    "labels in a tensor": (
        "loss = F.cross_entropy(X[:2, :3], torch.tensor([0, 2]))",
        "labels must be integers, got an array .* of float32",
    ),
    "writing into a tensor": ("X[0] = 1.0", "Make a new tensor with minidl.where"),
    "modules in a list": (
        "net = nn.Module()\nnet.layers = [nn.Linear(2, 2)]",
        "use Sequential or ModuleList",
    ),
    "a scheduler": (
        "optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)\n"
        "scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)",
        r"write optimizer.lr = schedule\(step\), with step_decay",
    ),
}
